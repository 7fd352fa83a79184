"""What a side makes of a case: something to call again and again."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Job(NamedTuple):
    """`call` runs once and comes back when it is done; `read` turns what the first call returned into NumPy arrays.

    The arrays of all sides are in the layouts of jax231, so that they can be compared.
    """

    call: Callable[[], Any]
    read: Callable[[Any], list[np.ndarray]]
    compile_seconds: float | None = None
    kernels: tuple[str, ...] = ()
