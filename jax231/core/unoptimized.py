"""Programs that run once or twice, such as a network's first parameters: compiled without the costly passes.

LLVM takes 0.4 s to optimize one draw of random numbers, and a network draws one for each of its kernels: 12 s of
processor time for a ConvNet on an AMD EPYC, 0.9 s with few passes, for a program that then runs for 2 ms.
"""

from collections.abc import Callable
from typing import Any

import jax


def options() -> dict[str, int]:
    """Compiler options that leave most passes out; on the CPU, where they take the time. The numbers stay the same."""
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else {}


def jit_unoptimized(function: Callable[..., Any], **choices: Any) -> Any:
    """``jax.jit(function, **choices)`` by `options`; to be called outside of other traced functions only."""
    return jax.jit(function, compiler_options=options(), **choices)
