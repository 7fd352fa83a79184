"""Step lengths along a descent direction: backtracking to sufficient decrease, and the strong Wolfe conditions.

Both work on flat vectors, run as one compiled loop, and report failure as a step of length 0. Close to a minimum the
loss no longer resolves the decrease that Armijo's rule asks for; there both accept a loss equal up to rounding (the
strong Wolfe search together with the slope test of Hager and Zhang's approximate Wolfe conditions).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree

Vector = Float[Array, " n"]
Scalar = Float[Array, ""]


class Backtracked(NamedTuple):
    """A step length (0 where none was found), the loss there, and the evaluations it took."""

    step: Scalar
    value: Scalar
    evaluations: Int[Array, ""]


class Searched(NamedTuple):
    """A step length (0 where none was found) with value and gradient at the new point, and the evaluations it took."""

    step: Scalar
    value: Scalar
    gradient: Vector
    evaluations: Int[Array, ""]


def rounding(value: Scalar) -> Scalar:
    """By how much two equal losses of the size of `value` may differ in their dtype."""
    return 8 * jnp.finfo(value.dtype).eps * jnp.abs(value)


def at_most_one(gradient: Vector) -> Scalar:
    """The factor of `gradient` that makes a first step as long as it, or of length 1 where it is longer."""
    length = tree.norm(gradient)
    return jnp.minimum(1, 1 / jnp.maximum(length, jnp.finfo(length.dtype).tiny))


def backtracking(
    value_fn: Callable[[Vector], Scalar],
    point: Vector,
    direction: Vector,
    value: Scalar,
    gradient: Vector,
    *,
    first: float = 1.0,
    shrink: float = 0.5,
    decrease: float = 1e-4,
    limit: int = 30,
    known: Scalar | None = None,
) -> Backtracked:
    """Shorten the step from `first` by `shrink` until the loss falls by `decrease` times what the slope promises.

    Gives up, with a step of 0, after `limit` evaluations, or after one where `direction` does not descend. `known` is
    the loss at the first step where the caller has it, which then takes no evaluation.

    Source: Armijo 1966; Nocedal & Wright 2006, algorithm 3.1.
    """
    slope = tree.dot(gradient, direction)
    slack = rounding(value)

    def fails(step, trial):
        return ~(trial <= value + decrease * step * slope + slack)  # true for NaN as well

    def going(carry):
        step, trial, evaluations = carry
        return fails(step, trial) & (evaluations < limit) & (slope < 0)

    def shorter(carry):
        step, _, evaluations = carry
        step = step * shrink
        return step, value_fn(point + step * direction), evaluations + 1

    start = jnp.asarray(first, point.dtype)
    one = jnp.ones((), jnp.int32)
    carry = (start, value_fn(point + start * direction), one) if known is None else (start, known, one - 1)
    step, trial, evaluations = jax.lax.while_loop(going, shorter, carry)
    found = ~fails(step, trial) & (slope < 0)
    return Backtracked(jnp.where(found, step, 0), jnp.where(found, trial, value), evaluations)


class Trial(NamedTuple):
    """One point on the line: step, value and slope."""

    step: Scalar
    value: Scalar
    slope: Scalar


class _Search(NamedTuple):
    evaluations: Int[Array, ""]
    zooming: Bool[Array, ""]
    done: Bool[Array, ""]
    low: Trial  # the best point with sufficient decrease so far; while bracketing, the previous point
    low_gradient: Vector
    high: Trial  # the other end of the bracket
    step: Scalar  # to try next


def strong_wolfe(
    value_and_grad: Callable[[Vector], tuple[Scalar, Vector]],
    point: Vector,
    direction: Vector,
    value: Scalar,
    gradient: Vector,
    *,
    first: Scalar | float = 1.0,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    grow: float = 4.0,
    limit: int = 25,
) -> Searched:
    """A step with f <= f0 + decrease * step * slope0 and |slope| <= curvature * |slope0|.

    Brackets such a step from `first` on, growing it up to `grow` times, then zooms in by safeguarded cubic
    interpolation. Value and gradient of the accepted point are returned, so the next iteration need not evaluate them:
    a good first step costs one evaluation. After `limit` evaluations the best point with sufficient decrease is taken;
    where there is none, or `direction` does not descend, the step is 0.

    Source: Nocedal & Wright 2006, algorithms 3.5 and 3.6, equation 3.59; Hager & Zhang 2005 (SIAM J. Optim. 16),
    equation 1.6, for the approximate conditions at the limit of rounding.
    """
    slope0 = tree.dot(gradient, direction)
    slack = rounding(value)
    start = Trial(jnp.zeros_like(value), value, slope0)

    def advance(search: _Search) -> _Search:
        value_here, gradient_here = value_and_grad(point + search.step * direction)
        here = Trial(search.step, value_here, tree.dot(gradient_here, direction))
        finite = jnp.isfinite(here.value) & jnp.isfinite(here.slope)
        armijo = finite & (here.value <= value + decrease * here.step * slope0)
        approximate = finite & (here.value <= value + slack) & (here.slope <= (2 * decrease - 1) * slope0)
        enough = armijo | approximate
        done = enough & (jnp.abs(here.slope) <= -curvature * slope0)
        # Nocedal & Wright: too far when there is no sufficient decrease or no improvement on the lower end. Values that
        # differ by rounding alone say nothing; then the slopes decide.
        first_trial = ~search.zooming & (search.low.step == 0)
        too_far = ~enough | (~first_trial & (here.value > search.low.value + slack))
        passed = here.slope * jnp.where(search.zooming, search.high.step - search.low.step, 1) >= 0
        # Where a minimum lies between `here` and `low`, `low` becomes the other end.
        high_if_near = _pick(passed, search.low, search.high)
        low, high = _pick(too_far, search.low, here), _pick(too_far, here, high_if_near)
        low, high = _pick(done, here, low), _pick(done, here, high)
        low_gradient = jnp.where(done | ~too_far, gradient_here, search.low_gradient)
        zooming = search.zooming | too_far | passed
        guess = _cubic(_pick(zooming, low, search.low), _pick(zooming, high, here))
        step = jnp.where(zooming, _between(low, high, guess), _beyond(search.low, here, guess, grow))
        return _Search(search.evaluations + 1, zooming, done, low, low_gradient, high, step)

    def going(search: _Search) -> Bool[Array, ""]:
        width = jnp.abs(search.high.step - search.low.step)
        narrow = search.zooming & (width <= 4 * jnp.finfo(width.dtype).eps * jnp.abs(search.high.step))
        return ~search.done & ~narrow & (search.evaluations < limit) & (slope0 < 0)

    false = jnp.zeros((), bool)
    step = jnp.asarray(first, value.dtype)
    search = _Search(jnp.zeros((), jnp.int32), false, false, start, gradient, start, step)
    search = jax.lax.while_loop(going, advance, search)
    best = search.low
    return Searched(best.step, best.value, search.low_gradient, search.evaluations)


def _pick(condition: Bool[Array, ""], a: Trial, b: Trial) -> Trial:
    return Trial(*(jnp.where(condition, x, y) for x, y in zip(a, b, strict=True)))


def _cubic(a: Trial, b: Trial) -> Scalar:
    """The minimizer of the cubic through values and slopes at `a` and `b` (Nocedal & Wright, equation 3.59)."""
    apart = jnp.where(b.step == a.step, 1, b.step - a.step)
    d1 = a.slope + b.slope - 3 * (b.value - a.value) / apart
    square = d1 * d1 - a.slope * b.slope
    d2 = jnp.sign(apart) * jnp.sqrt(jnp.maximum(square, 0))
    below = b.slope - a.slope + 2 * d2
    minimizer = b.step - apart * (b.slope + d2 - d1) / jnp.where(below == 0, 1, below)
    return jnp.where((square >= 0) & (below != 0), minimizer, jnp.nan)


def _between(low: Trial, high: Trial, guess: Scalar) -> Scalar:
    """The next trial inside the bracket: the cubic's minimizer, kept a tenth of the width away from both ends."""
    width = high.step - low.step
    share = (guess - low.step) / jnp.where(width == 0, 1, width)
    return low.step + width * jnp.where(jnp.isfinite(share), jnp.clip(share, 0.1, 0.9), 0.5)


def _beyond(previous: Trial, here: Trial, guess: Scalar, grow: float) -> Scalar:
    """The next trial further out: the cubic's minimizer, 1.1 strides ahead or more, up to `grow` times the step.

    Where the cubic has none ahead, as where the slope still falls, the step grows by the whole of `grow`.

    Source: Moré & Thuente 1994 (ACM TOMS 20), section 4, for the safeguards.
    """
    most = grow * here.step
    least = jnp.minimum(here.step + 1.1 * (here.step - previous.step), most)
    return jnp.where(guess > here.step, jnp.clip(guess, least, most), most)
