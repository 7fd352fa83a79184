"""What was measured at several sizes of a problem, and the power of the size that it grows with."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Curve(NamedTuple):
    """One method's measurements by size, and the powers of N that they grow with."""

    title: str
    sizes: list[int]
    seconds: list[float]
    bytes: list[int]
    time: float
    memory: float


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """p of the law c N^p that is nearest to the larger half of the sizes, by least squares in logarithms."""
    half = min(len(sizes) // 2, len(sizes) - 2)
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])
