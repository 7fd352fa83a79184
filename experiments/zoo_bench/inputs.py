"""Random images or texts with labels, the same for both frameworks."""

import numpy as np


def inputs(n: int, shape: tuple[int, ...], classes: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, h, w, c) in float32 with labels (n,); of a `shape` (t,) tokens (n, t) with those after them."""
    rng = np.random.default_rng(seed)
    if len(shape) == 1:
        tokens = rng.integers(0, classes, (n, shape[0] + 1), np.int32)
        return tokens[:, :-1], tokens[:, 1:]
    return rng.standard_normal((n, *shape), np.float32), rng.integers(0, classes, n, np.int32)
