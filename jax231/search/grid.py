"""Settings at equal distances on a logarithmic axis."""

import math

import numpy as np

from jax231.core.checks import require


def log_grid(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` settings from `low` to `high`, equally spaced in the logarithm, rounded to three digits.

    A single setting is the geometric mean of the ends.

    Raises: ValueError unless 0 < low <= high < inf and count >= 1.
    Source: CS231n lecture 6 (sample hyperparameters in log space).
    """
    fits = 0 < low <= high < math.inf and count >= 1
    require(fits, "log_grid", "0 < low <= high, both finite, and count >= 1", low=low, high=high, count=count)
    settings = np.geomspace(low, high, count) if count > 1 else [np.sqrt(low * high)]
    return tuple(float(f"{setting:.3g}") for setting in settings)
