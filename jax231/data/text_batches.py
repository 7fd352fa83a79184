"""A text in windows for truncated backpropagation: each row of a batch goes on where it ended in the batch before."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from jax231.core.checks import require


class Windows(NamedTuple):
    """The characters that are read, and at each place the one that comes next."""

    inputs: Integer[np.ndarray, "s batch length"]
    targets: Integer[np.ndarray, "s batch length"]


def windows(codes: Integer[np.ndarray, "t"], batch: int, length: int) -> Windows:
    """`codes` cut into `batch` rows of equal length, and these into windows of `length`; the rest is left out.

    Shapes:    (t,) -> (s, batch, length) twice.
    Raises:    ValueError where not one window fits.
    """
    steps = (len(codes) - 1) // (batch * length) if batch >= 1 and length >= 1 else 0
    expected = f"rows of windows that fit into {len(codes)} characters"
    require(steps >= 1, "windows", expected, batch=batch, length=length)
    used = steps * batch * length

    def cut(x: np.ndarray) -> np.ndarray:
        return x.reshape(batch, steps, length).swapaxes(0, 1)

    return Windows(cut(codes[:used]), cut(codes[1 : used + 1]))
