"""Successive halving: many settings for a short time, the better part of them for longer."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jax231.core.checks import require


class Rung(NamedTuple):
    """How many settings run, and to how many epochs in all."""

    settings: int
    epochs: int


def rungs(settings: int, epochs: int, eta: int = 3, least: int = 1) -> tuple[Rung, ...]:
    """The rungs from `settings` settings at few epochs to the last few at `epochs`.

    Each keeps the best of every `eta` settings and gives them `eta` times the epochs, so that all cost about the same;
    the first runs for at least `least` epochs and one setting at least is left.

    Raises:  ValueError unless settings, epochs and least are at least 1 and eta at least 2.
    Source:  Jamieson & Talwalkar 2016 (arXiv:1502.07943), algorithm 1; Li et al. 2018 (Hyperband) for eta.
    """
    fits = settings >= 1 and 1 <= least <= epochs and eta >= 2
    expected = "at least one setting, 1 <= least <= epochs and eta of at least 2"
    require(fits, "rungs", expected, settings=settings, epochs=epochs, eta=eta, least=least)
    by_settings, by_epochs = _whole_log(settings, eta), _whole_log(epochs // least, eta)
    last = min(by_settings, by_epochs)
    return tuple(Rung(max(settings // eta**k, 1), max(epochs // eta ** (last - k), least)) for k in range(last + 1))


def survivors(scores: Sequence[float], count: int) -> tuple[int, ...]:
    """The places of the `count` highest scores in their old order, the first of equals; scores of NaN come last."""
    ranked = sorted(range(len(scores)), key=lambda place: (math.isnan(scores[place]), -scores[place], place))
    return tuple(sorted(ranked[:count]))


def _whole_log(number: int, base: int) -> int:
    """The largest k with base**k <= number, in whole numbers: `math.log(243, 3)` is just below 5."""
    k = 0
    while base ** (k + 1) <= number:
        k += 1
    return k
