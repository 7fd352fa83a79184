"""L-BFGS within bounds: quasi-Newton steps where no bound is near, gradient steps onto the bounds that are."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.optim import counts, reuse
from jax231.optim.bounds import bounds_like
from jax231.optim.flat import flatten, ravel
from jax231.optim.linesearch import Searched, Trial, rounding
from jax231.optim.secant import curvature as curvature_of

Vector = Float[Array, " n"]


class LbfgsProjectedState(NamedTuple):
    """The last pairs, oldest first, the evaluation at the new point, what was used, and whether the search failed."""

    steps: Float[Array, "m n"]
    differences: Float[Array, "m n"]
    scale: Float[Array, ""]
    started: Bool[Array, ""]
    kept: reuse.Kept
    counts: counts.Counts
    stalled: Bool[Array, ""]
    iterations: Int[Array, ""]


def blocked(point: Vector, direction: Vector, lower: Vector, upper: Vector) -> Bool[Array, " n"]:
    """Entries on a bound that `direction` would take across it."""
    return ((point <= lower) & (direction < 0)) | ((point >= upper) & (direction > 0))


def reduced(
    steps: Float[Array, "m n"],
    differences: Float[Array, "m n"],
    scale: Float[Array, ""],
    free: Bool[Array, " n"],
    vector: Vector,
) -> Vector:
    """The inverse of the Hessian's block of the `free` entries, as the pairs know it, times `vector`; 0 elsewhere.

    Pairs without positive curvature among the free entries are left out, and the start is scaled to the newest of the
    others; where there is none the result is `scale` times `vector`.

    Source: Bertsekas 1982, section 2, with L-BFGS for the block; Nocedal & Wright 2006, algorithm 7.4.
    """

    def products(a, b):
        return jnp.einsum("mn,mn->m", a, b, precision="highest")

    steps, differences, vector = (jnp.where(free, x, 0) for x in (steps, differences, vector))
    product, square = products(steps, differences), products(differences, differences)
    positive = product > jnp.finfo(vector.dtype).eps * jnp.sqrt(products(steps, steps) * square)
    inverse = jnp.where(positive, 1 / jnp.where(positive, product, 1), 0)
    newest = steps.shape[0] - 1 - jnp.argmax(positive[::-1])
    scale = jnp.where(positive[newest], product[newest] / jnp.where(positive[newest], square[newest], 1), scale)

    def backward(remainder, pair):
        step, difference, inverse = pair
        share = inverse * tree.dot(step, remainder)
        return remainder - share * difference, share

    def forward(result, pair):
        (step, difference, inverse), share = pair
        return result + (share - inverse * tree.dot(difference, result)) * step, None

    pairs = (steps, differences, inverse)
    remainder, shares = jax.lax.scan(backward, vector, pairs, reverse=True)
    result, _ = jax.lax.scan(forward, scale * remainder, (pairs, shares))
    return result


class _Search(NamedTuple):
    evaluations: Int[Array, ""]
    done: Bool[Array, ""]
    low: Trial  # the farthest point with sufficient decrease so far
    low_gradient: Vector
    high: Trial  # the nearest without; at infinity until there is one
    step: Array  # to try next


def projected_wolfe(
    value_and_grad: Callable[[Vector], tuple[Array, Vector]],
    point: Vector,
    direction: Vector,
    value: Float[Array, ""],
    gradient: Vector,
    lower: Vector,
    upper: Vector,
    *,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    grow: float = 4.0,
    limit: int = 25,
) -> Searched:
    """A step along the arc ``clip(point + step * direction)`` that satisfies the weak Wolfe conditions.

    That is, the value falls by `decrease` of what the gradient promises for the way that is gone, and the slope of the
    arc ahead is at least `curvature` times the first one. The arc bends where an entry meets its bound, so its slope
    jumps; the weak conditions hold between two bends, or at one, all the same, where the strong ones need not. Brackets
    by growing the first step of 1, then narrows by quadratic interpolation. Close to a minimum a value that is equal up
    to rounding is accepted as in `linesearch.strong_wolfe`. `direction` must not cross a bound that `point` is on.

    Source: Bertsekas 1982, equation 15, for the arc; Lewis & Overton 2013 (Math. Program. 141), algorithm 2.6, for weak
        Wolfe steps of functions with kinks.
    """
    slope0 = tree.dot(gradient, direction)
    slack = rounding(value)

    def advance(search: _Search) -> _Search:
        new = jnp.clip(point + search.step * direction, lower, upper)
        value_here, gradient_here = value_and_grad(new)
        ahead = jnp.where(blocked(new, direction, lower, upper), 0, direction)
        here = Trial(search.step, value_here, tree.dot(gradient_here, ahead))
        promised = tree.dot(gradient, new - point)
        finite = jnp.isfinite(here.value) & jnp.isfinite(here.slope)
        armijo = finite & (promised < 0) & (here.value <= value + decrease * promised)
        approximate = finite & (here.value <= value + slack) & (here.slope <= (2 * decrease - 1) * slope0)
        enough = armijo | approximate
        done = enough & (here.slope >= curvature * slope0)
        low, high = tree.where(enough, (here, search.high), (search.low, here))
        low_gradient = jnp.where(enough, gradient_here, search.low_gradient)
        step = jnp.where(jnp.isinf(high.step), grow * here.step, _between(low, high))
        return _Search(search.evaluations + 1, done, low, low_gradient, high, step)

    def going(search: _Search) -> Bool[Array, ""]:
        width = search.high.step - search.low.step
        narrow = width <= 4 * jnp.finfo(width.dtype).eps * search.high.step
        narrow = jnp.isfinite(search.high.step) & narrow
        return ~search.done & ~narrow & (search.evaluations < limit) & (slope0 < 0)

    start = Trial(jnp.zeros_like(value), value, slope0)
    beyond = Trial(jnp.full_like(value, jnp.inf), value, slope0)
    search = _Search(jnp.zeros((), jnp.int32), jnp.zeros((), bool), start, gradient, beyond, jnp.ones_like(value))
    search = jax.lax.while_loop(going, advance, search)
    return Searched(search.low.step, search.low.value, search.low_gradient, search.evaluations)


def _between(low: Trial, high: Trial) -> Array:
    """The minimizer of the parabola through both values and the slope at `low`, a tenth of the width off both ends."""
    width = jnp.where(jnp.isfinite(high.step), high.step - low.step, 1)
    above = high.value - low.value - low.slope * width
    share = -low.slope * width / (2 * jnp.where(above > 0, above, 1))
    usable = (above > 0) & jnp.isfinite(share)
    return low.step + width * jnp.where(usable, jnp.clip(share, 0.1, 0.9), 0.5)


def lbfgs_projected(
    bounds: Any, damping: Scalar = 0.0, *, memory: int = 10, evaluations: int = 25
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS for parameters within `bounds`, for an objective without noise.

    `update` needs ``value``, ``grad`` and ``value_fn``, at parameters within the bounds. An entry is held by a bound
    where a gradient step, at the scale of the newest pair, reaches that bound. Held entries take this very step, the
    others the L-BFGS step of their own block, and the search follows both along the arc that is cut off at the bounds:
    so any number of entries may meet or leave a bound in one step, and where no bound is in reach this is L-BFGS.
    New parameters lie within the bounds up to the rounding of ``params + updates`` (`bounds.land` removes that).
    Otherwise as `jax231.optim.lbfgs`: evaluations are reused, and a failed search drops the memory once.

    bounds: a pair (lower, upper), each a number or a tree like the parameters; -inf and inf leave a side open.
    damping: lambda >= 0, traced; the approximated matrix is H + lambda I. 0 is the classical method.
    memory: m, the number of pairs kept; `evaluations`: at most so many a search.

    Cost:    (2m + 5) copies of the parameters; one gradient a good step, 7 m n multiplications besides.
    Raises:  ValueError if memory or evaluations is below 1, for bounds that do not fit the parameters, or if damping is
        negative or a lower bound above its upper one where it can be seen.
    Source:  Bertsekas 1982 (SIAM J. Control Optim. 20), two-metric projection; Nocedal & Wright 2006, algorithm 7.4.
    """
    require(memory >= 1, "lbfgs_projected", "a memory of at least one pair", memory=memory)
    require(evaluations >= 1, "lbfgs_projected", "at least one evaluation a line search", evaluations=evaluations)
    require_nonnegative("lbfgs_projected", damping=damping)

    def init(params: PyTree) -> LbfgsProjectedState:
        flat, _ = ravel(params)
        pairs = jnp.zeros((memory, flat.size), flat.dtype)
        kept, false = reuse.nothing(params), jnp.zeros((), bool)
        one, none = jnp.ones((), flat.dtype), jnp.zeros((), jnp.int32)
        return LbfgsProjectedState(pairs, pairs, one, false, kept, counts.none(), false, none)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, value, gradient, unravel = flatten("lbfgs_projected", params, extra)
        whole = bounds_like("lbfgs_projected", bounds, params)
        lower, upper = (ravel(jax.tree.map(lambda b, x: jnp.broadcast_to(b, x.shape), b, params))[0] for b in whole)
        downhill = jnp.where(blocked(point, -gradient, lower, upper), 0, -gradient)
        length = jnp.maximum(tree.norm(downhill), jnp.finfo(point.dtype).tiny)
        scale = jnp.where(state.started, state.scale, jnp.minimum(1, 1 / length))
        downhill = scale * downhill
        reached = point + downhill
        free = (lower < reached) & (reached < upper) & ~blocked(point, -gradient, lower, upper)
        newton = -reduced(state.steps, state.differences, scale, free, gradient)
        direction = jnp.where(free & state.started, newton, downhill)
        direction = jnp.where(blocked(point, direction, lower, upper), 0, direction)
        direction = jnp.where(tree.dot(direction, gradient) < 0, direction, downhill)
        evaluate = jax.value_and_grad(fun)
        found = projected_wolfe(evaluate, point, direction, value, gradient, lower, upper, limit=evaluations)
        moved = found.step > 0
        step = jnp.where(moved, jnp.clip(point + found.step * direction, lower, upper) - point, 0)
        difference = found.gradient - gradient + jnp.asarray(damping, step.dtype) * step
        product, square, learned = curvature_of(step, difference)
        pairs = (state.steps, step), (state.differences, difference)
        longer = [jnp.roll(old, -1, 0).at[-1].set(new) for old, new in pairs]
        steps, differences = tree.where(learned, longer, [state.steps, state.differences])
        scale = jnp.where(learned, product / jnp.where(learned, square, 1), state.scale)
        used = state.counts.plus(gradient=found.evaluations + jnp.where(state.kept.known, 0, 1))
        new = LbfgsProjectedState(
            jnp.where(moved, steps, 0),
            jnp.where(moved, differences, 0),
            scale,
            moved & (state.started | learned),
            reuse.keep(params, found.value, found.gradient),
            used,
            ~moved & ~state.started,
            state.iterations + 1,
        )
        return unravel(step), new

    return optax.GradientTransformationExtraArgs(init, update)
