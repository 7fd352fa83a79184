"""Ranges of numbers to search, and the way between them and the unit interval."""

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jax231.core.checks import require

NEAR = 0.08
"""How close to an end of its range, as a share of it, a number lies on the edge."""


class Range(NamedTuple):
    """Numbers from `low` to `high`, searched evenly in their logarithm, or as they are ("linear")."""

    low: float
    high: float
    scale: Literal["log", "linear"] = "log"

    def at(self, share: float) -> float:
        """The number that lies `share` of the way from `low` to `high`, to four digits."""
        if self.scale == "log":
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return float(f"{value:.4g}")

    def share(self, number: float) -> float:
        """How far from `low` to `high` a number lies: the inverse of `at`; 0.5 in a range of one number."""
        if self.low == self.high:
            return 0.5
        if self.scale == "log":
            return (math.log(number) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (number - self.low) / (self.high - self.low)

    def edge(self, number: float) -> Literal["low", "high"] | None:
        """Whether a number lies on the edge: the best one there says that a better may lie beyond."""
        share = self.share(number)
        if self.low == self.high:
            return None
        return "low" if share < NEAR else "high" if share > 1 - NEAR else None


Space = dict[str, Range]
"""What is searched, by name."""


def require_range(where: str, name: str, low: float, high: float, scale: Literal["log", "linear"] = "log") -> Range:
    """The range from `low` to `high`.

    Raises: ValueError unless both are finite and in order, and above 0 where the scale is a logarithm.
    """
    bottom = low > 0 if scale == "log" else True
    fits = bottom and low <= high and math.isfinite(low) and math.isfinite(high)
    expected = f"{name} from low to high, both finite" + (" and above 0" if scale == "log" else "")
    require(fits, where, expected, low=low, high=high)
    return Range(low, high, scale)


def settings(space: Space, points: Float[np.ndarray, "n d"]) -> list[dict[str, float]]:
    """The settings at points of the unit cube, whose axes are the names of `space` in order."""
    names = list(space)
    fits = points.ndim == 2 and points.shape[1] == len(names)
    require(fits, "settings", f"points with an axis for each of {', '.join(names)}", points=points)
    return [{name: space[name].at(float(u)) for name, u in zip(names, point, strict=True)} for point in points]
