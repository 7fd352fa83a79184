"""Functions compiled ahead of their first call, in the background, with what that took."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from jax231.core import unoptimized


class Program:
    """`function` traced for `arguments` now and compiled in `pool`; a call waits for the compilation.

    `quickly` leaves most of the compiler's passes out, for what runs a few times only.
    """

    def __init__(self, pool: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any, quickly: bool = False):
        begin = time.perf_counter()
        lowered = jax.jit(function).lower(*arguments)
        self._traced = time.perf_counter() - begin
        self._result: Future = pool.submit(_compile, lowered, unoptimized.options() if quickly else {})

    def wait(self) -> float:
        """Wait for the compilation; seconds that tracing and compiling took."""
        return self._traced + self._result.result()[1]

    def __call__(self, *arguments: Any) -> Any:
        """The function's result for `arguments` of the shapes that it was traced for."""
        return self._result.result()[0](*arguments)


def blank(shapes: Any) -> Any:
    """Zeros of the given shapes and dtypes, from NumPy: made by JAX, every new shape would be a compilation."""
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


def _compile(lowered: Any, options: dict[str, Any]) -> tuple[Callable[..., Any], float]:
    begin = time.perf_counter()
    compiled = lowered.compile(compiler_options=options)
    return compiled, time.perf_counter() - begin
