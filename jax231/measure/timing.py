"""How long calls take: interleaved, warm, median and spread, so that a ratio of two of them means something."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jax231.core.checks import require


class Timing(NamedTuple):
    """Seconds of one call: the median, and the interquartile range over the median."""

    median: float
    spread: float


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """The result of one call, once it is there, and the wall-clock seconds until then."""
    begin = time.perf_counter()
    result = jax.block_until_ready(call(*arguments))
    return result, time.perf_counter() - begin


def overhead(call: Callable[..., Any], *arguments: Any, repeats: int = 9) -> float:
    """Seconds that a call takes besides its work: the median of calls with arguments that leave nothing to do."""
    return float(np.median([timed(call, *arguments)[1] for _ in range(repeats)]))


def interleaved(
    calls: Mapping[str, tuple[Callable[..., Any], tuple[Any, ...]]], *, repeats: int = 11, budget: float = 1.0
) -> dict[str, Timing]:
    """Time several calls in turns, so that a change of the machine's speed meets all of them alike.

    Every call is warmed up twice (compilation and caches stay out). At most `repeats` rounds, and after three no new
    round once `budget` seconds are spent.

    Raises: ValueError if `repeats` is below 1.
    """
    require(repeats >= 1, "interleaved", "at least one round", repeats=repeats)
    for call, arguments in calls.values():
        for _ in range(2):
            jax.block_until_ready(call(*arguments))
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    for done in range(repeats):
        if done >= 3 and time.perf_counter() - begin > budget:
            break
        for name, (call, arguments) in calls.items():
            rounds[name].append(timed(call, *arguments)[1])
    return {name: of_rounds(times) for name, times in rounds.items()}


def of_rounds(times: Sequence[float]) -> Timing:
    """The median of the rounds' times, and their interquartile range over it."""
    low, median, high = np.quantile(times, (0.25, 0.5, 0.75))
    return Timing(float(median), float((high - low) / median))
