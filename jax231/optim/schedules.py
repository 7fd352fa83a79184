"""Step sizes over time: functions ``step -> rate``, with steps counted from 0.

Every number may be traced, the lengths too: a sweep over them is one program, and changing one compiles nothing. A
builder takes a schedule where it takes a rate: ``momentum(cosine(0.1, steps=1000))``.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import is_concrete, require, require_nonnegative, require_positive, require_rate
from jax231.core.types import Scalar

Schedule = Callable[[ArrayLike], Array]


def constant(rate: Scalar) -> Schedule:
    """The same rate at every step."""
    require_positive("constant", rate=rate)
    return lambda step: jnp.asarray(rate, float)


def step_decay(rate: Scalar, every: Scalar, factor: Scalar = 0.1) -> Schedule:
    """``rate * factor^floor(step / every)``: a drop after each `every` steps.

    Source: CS231n notes, neural-networks-3, "step decay".
    """
    require_positive("step_decay", rate=rate, every=every, factor=factor)
    return lambda step: rate * jnp.asarray(factor, float) ** jnp.floor(_float(step) / every)


def milestones(rate: Scalar, at: Sequence[Scalar] | jax.Array, factor: Scalar = 0.1) -> Schedule:
    """`rate`, times `factor` from each of the steps in `at` on."""
    require_positive("milestones", rate=rate, factor=factor)
    return lambda step: rate * jnp.asarray(factor, float) ** jnp.sum(_float(step) >= jnp.asarray(at))


def exponential(rate: Scalar, decay: Scalar) -> Schedule:
    """``rate * exp(-decay * step)``.

    Source: CS231n notes, neural-networks-3, "exponential decay".
    """
    require_positive("exponential", rate=rate)
    require_nonnegative("exponential", decay=decay)
    return lambda step: rate * jnp.exp(-decay * _float(step))


def inverse_time(rate: Scalar, decay: Scalar) -> Schedule:
    """``rate / (1 + decay * step)``, the 1/t decay.

    Its sum diverges and the sum of its squares does not, as Robbins and Monro ask of step sizes.

    Source: CS231n notes, neural-networks-3, "1/t decay".
    """
    require_positive("inverse_time", rate=rate)
    require_nonnegative("inverse_time", decay=decay)
    return lambda step: rate / (1 + decay * _float(step))


def cosine(rate: Scalar, steps: Scalar, end: Scalar = 0.0) -> Schedule:
    """Half a cosine from `rate` at step 0 down to `end` at `steps`, and `end` from there on.

    Source: Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5 without restarts.
    """
    require_positive("cosine", rate=rate, steps=steps)
    require_nonnegative("cosine", end=end)
    return lambda step: _half_cosine(rate, end, _float(step) / steps)


def warm_restarts(rate: Scalar, period: Scalar, growth: Scalar = 2.0, end: Scalar = 0.0) -> Schedule:
    """SGDR: a cosine from `rate` towards `end` in `period` steps, again and again, each `growth` times as long.

    A `growth` of 1 keeps the length. The parameters at the end of each period make an ensemble of snapshots.

    Raises: ValueError if `growth` is below 1, or another number out of range, where it can be seen.
    Source: Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5; CS231n lecture 7, "Model ensembles".
    """
    require_positive("warm_restarts", rate=rate, period=period)
    require_nonnegative("warm_restarts", end=end)
    require(not is_concrete(growth) or bool(growth >= 1), "warm_restarts", "growth of at least 1", growth=growth)

    def schedule(step: ArrayLike) -> Array:
        periods = _float(step) / period  # in first periods
        more = jnp.asarray(growth, float) - 1
        even = more == 0
        safe = jnp.where(even, 1.0, more)

        def start(cycle):
            return jnp.where(even, cycle, ((1 + safe) ** cycle - 1) / safe)

        guess = jnp.floor(jnp.where(even, periods, jnp.log1p(periods * safe) / jnp.log1p(safe)))
        # Logarithms are off by a rounding error where a cycle starts.
        cycle = jnp.where(start(guess + 1) <= periods, guess + 1, jnp.where(start(guess) > periods, guess - 1, guess))
        return _half_cosine(rate, end, (periods - start(cycle)) / (1 + more) ** cycle)

    return schedule


def warm_up(after: Schedule, steps: Scalar, start: Scalar = 0.0) -> Schedule:
    """`steps` steps along a line from `start` times the first rate of `after` to all of it, and then `after`.

    Raises: ValueError if `steps` is negative or `start` outside [0, 1] where they can be seen.
    Source: Goyal et al. 2017 (arXiv:1706.02677), section 2.2.
    """
    require_nonnegative("warm_up", steps=steps)
    require_rate("warm_up", "start", start)

    def schedule(step: ArrayLike) -> Array:
        step = _float(step)
        share = jnp.clip(step / jnp.where(jnp.asarray(steps) > 0, steps, 1), 0, 1)
        factor = jnp.where(step < steps, start + (1 - start) * share, 1)
        return factor * after(jnp.maximum(step - steps, 0))

    return schedule


def one_cycle(
    rate: Scalar, steps: Scalar, *, rise: Scalar = 0.3, first: Scalar = 1 / 25, last: Scalar = 1e-4 / 25
) -> Schedule:
    """Half a cosine from ``first * rate`` up to `rate` for a share `rise` of the steps, then down to ``last * rate``.

    PyTorch's OneCycleLR reaches both turning points one step earlier, so that its last rate is used.

    Raises: ValueError if a number is not positive, or a share above 1, where they can be seen.
    Source: Smith & Topin 2018 (arXiv:1708.07120); the cosine is fast.ai's.
    """
    require_positive("one_cycle", rate=rate, steps=steps, rise=rise)
    for name, share in (("rise", rise), ("first", first), ("last", last)):
        require_rate("one_cycle", name, share)

    def schedule(step: ArrayLike) -> Array:
        step = _float(step)
        turn = rise * steps
        up = _half_cosine(first * rate, rate, step / turn)
        left = jnp.asarray(steps - turn, float)
        down = _half_cosine(rate, last * rate, (step - turn) / jnp.where(left > 0, left, 1))
        return jnp.where(step < turn, up, down)

    return schedule


def range_test(low: Scalar, high: Scalar, steps: Scalar) -> Schedule:
    """Rates that grow from `low` at step 0 to `high` at step ``steps - 1``, each by the same factor.

    Train by it once, keep the losses, and read the rate from `steepest`.

    Source: Smith 2017 (arXiv:1506.01186), section 3.3; with equal factors instead of equal differences.
    """
    require_positive("range_test", low=low, high=high, steps=steps)

    def schedule(step: ArrayLike) -> Array:
        last = jnp.maximum(jnp.asarray(steps, float) - 1, 1)
        return low * (jnp.asarray(high, float) / low) ** (_float(step) / last)

    return schedule


def steepest(rates: ArrayLike, losses: ArrayLike, smoothing: Scalar = 0.9) -> Float[Array, ""]:
    """The rate of a range test at which the smoothed loss falls fastest, by the logarithm of the rate.

    The losses are smoothed by a bias-corrected running mean. What comes after the first loss that is not finite, or
    more than 3 times the first ("break out early", says the course), does not count; NaN where nothing falls.

    Shapes: (steps,), (steps,) -> ().
    Raises: ValueError unless there are as many losses as rates, two or more.
    Source: Smith 2017; the slope, the mean and its correction are fast.ai's.
    """
    rates, losses = jnp.asarray(rates), jnp.asarray(losses)
    fits = rates.shape == losses.shape and rates.ndim == 1 and rates.size > 1
    require(fits, "steepest", "as many losses as rates, two or more", rates=rates, losses=losses)
    require_rate("steepest", "smoothing", smoothing)
    keep = jnp.asarray(smoothing, losses.dtype)
    sound = jnp.cumsum(~(losses <= 3 * losses[0])) == 0

    def smooth(carry, loss):
        total, weight = carry
        total, weight = keep * total + (1 - keep) * loss, keep * weight + (1 - keep)
        return (total, weight), total / weight

    zero = jnp.zeros((), losses.dtype)
    _, smoothed = jax.lax.scan(smooth, (zero, zero), jnp.where(sound, losses, 0))
    slopes = jnp.diff(smoothed) / jnp.diff(jnp.log(rates))
    slopes = jnp.where(sound[1:] & jnp.isfinite(slopes), slopes, jnp.inf)
    best = jnp.argmin(slopes)
    return jnp.where(slopes[best] < 0, rates[best + 1], jnp.nan)


def _half_cosine(start: Scalar, end: Scalar, share: Array) -> Array:
    """From `start` at a share of 0 to `end` at a share of 1, level at both ends and beyond them."""
    return end + (start - end) * (1 + jnp.cos(jnp.pi * jnp.clip(share, 0, 1))) / 2


def _float(step: ArrayLike) -> Array:
    return jnp.asarray(step, float)
