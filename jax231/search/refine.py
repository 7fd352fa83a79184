"""Coarse to fine: the next range around the best of a stage."""

import math
from collections.abc import Sequence

from jax231.core.checks import require
from jax231.search.space import Range, Space

SHRINK = 3.0
"""By how much a stage narrows a range, in the logarithm where it is searched so."""


def refine(range: Range, best: float, shrink: float = SHRINK) -> Range:
    """A range `shrink` times as narrow with `best` in its middle.

    It may reach beyond the old one, as it must where the best lies on an edge. A linear range keeps to the ends of the
    old one, beyond which its numbers may mean nothing (a share above 1).

    Raises:  ValueError if `shrink` is below 1 or `best` is not finite, or not above 0 on a logarithmic range.
    Source:  CS231n lecture 6, coarse to fine search in stages.
    """
    fits = shrink >= 1 and math.isfinite(best) and (best > 0 or range.scale == "linear")
    require(fits, "refine", "shrink of at least 1 and a number of the range", shrink=shrink, best=best, range=range)
    if range.scale == "log":
        half = math.exp(math.log(range.high / range.low) / (2 * shrink))
        return Range(float(f"{best / half:.4g}"), float(f"{best * half:.4g}"))
    half = (range.high - range.low) / (2 * shrink)
    return Range(max(best - half, range.low), min(best + half, range.high), "linear")


def refine_all(space: Space, best: dict[str, float], shrink: float = SHRINK) -> Space:
    """Every range of `space` refined around its number in `best`."""
    return {name: refine(range, best[name], shrink) for name, range in space.items()}


def edges(space: Space, best: dict[str, float]) -> list[str]:
    """A warning for each number of `best` on an edge of its range: the best may lie beyond, though not below a 0."""
    return [
        f"the best {name}, {best[name]:.3g}, lies on the {side} edge of {range.low:.3g} .. {range.high:.3g}: "
        "the best of all may lie beyond it"
        for name, range in space.items()
        if (side := range.edge(best[name])) is not None and not (side == "low" and range.low == 0)
    ]


def best_of(scores: Sequence[float]) -> int | None:
    """The place of the highest score, the first of equals; None where no score is finite."""
    finite = [place for place, score in enumerate(scores) if math.isfinite(score)]
    return max(finite, key=lambda place: scores[place], default=None)
