"""How far arrays are from others of the same names."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def relative(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    """The norm of ``a - b`` over that of ``b``, all arrays of `b` as one vector."""
    error = sum(_squares(np.subtract(a[key], b[key], dtype=np.float64)) for key in b)
    return math.sqrt(error / (sum(map(_squares, b.values())) or 1.0))


def worst(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The single array that is furthest off."""
    name = max(b, key=lambda key: relative({key: a[key]}, {key: b[key]}))
    return {"name": name, "difference": relative({name: a[name]}, {name: b[name]})}


def _squares(x: np.ndarray) -> float:
    return float(np.sum(np.square(x, dtype=np.float64)))
