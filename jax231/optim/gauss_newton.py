"""Gauss-Newton without matrices ("Hessian-free"): a damped quadratic model, minimised by CG as far as it pays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative, require_rate
from jax231.core.types import Key, PyTree, Scalar
from jax231.curvature.products import linearized_ggnvp
from jax231.optim import counts
from jax231.optim.arguments import required
from jax231.optim.flat import flatten, ravel
from jax231.optim.linesearch import backtracking, rounding

Vector = Float[Array, " n"]
Number = Float[Array, ""]
SAVED = 8
"""Iterates of CG kept for going back: the last few of those at iterations 1, 2, 3, 4, 6, 8, 11, 15, 20, 27, ..."""


class GaussNewtonState(NamedTuple):
    """What was used, the damping and the CG solution of the last step, and how the model did there.

    `diagonal` is the running average of what the probes estimate, None without probes; `ratio` is the decrease of the
    loss over the one that the model promised (`reduction_ratio`); `stalled` tells that no decrease was found.
    """

    counts: counts.Counts
    damping: Float[Array, ""]
    solution: Float[Array, " n"]
    diagonal: PyTree
    ratio: Float[Array, ""]
    cg_iterations: Int[Array, ""]
    iterations: Int[Array, ""]
    stalled: Bool[Array, ""]


class Saved(NamedTuple):
    """A ring of the last iterates kept, the model's values there, and how many were ever put in."""

    points: Float[Array, "k n"]
    models: Float[Array, " k"]
    count: Int[Array, ""]


class Minimised(NamedTuple):
    """The last iterate, the model's value there, earlier iterates, and the CG iterations (one product each)."""

    solution: Vector
    model: Number
    saved: Saved
    iterations: Int[Array, ""]


class _Cg(NamedTuple):
    solution: Vector
    residual: Vector
    direction: Vector
    square: Number  # of the residual, in the norm of the inverse preconditioner
    models: Float[Array, " limit_plus_1"]
    saved: Saved
    save_next: Int[Array, ""]
    iteration: Int[Array, ""]
    negative: Bool[Array, ""]


def minimise_model(
    product: Callable[[Vector], Vector], gradient: Vector, start: Vector, inverse: Vector, limit: int
) -> Minimised:
    """Preconditioned CG on the model ``q(d) = d.A d / 2 + gradient.d`` until progress per iteration hardly pays.

    Begins at `start` even where q is positive: a few iterations put right the steep directions, for which a solution of
    before is wrong by now, and the flat ones, which take CG long, go on from where they were. With k = max(10, i / 10)
    it stops at iteration i where the last k of them gained less than a share of 5e-4 k of q, at a residual of rounding
    errors, or before a direction of non-positive curvature; if that is the very first, the solution is the
    preconditioned negative gradient, and the model there its slope alone. If q is not negative at the end, the solution
    is the minimum along the preconditioned gradient, for one product more.

    inverse:  the diagonal of the inverse preconditioner.
    Source:   Martens 2010, sections 4.4 (stopping rule), 4.6 (start) and 4.7 (preconditioning); Nocedal & Wright 2006,
              algorithm 5.3.
    """
    steepest = -inverse * gradient
    slope = tree.dot(gradient, steepest)
    start = jnp.where(slope < 0, start, 0)
    residual = -gradient - product(start)
    small = -((100 * jnp.finfo(gradient.dtype).eps) ** 2) * slope

    def model(solution, residual):
        return tree.dot(solution, gradient - residual) / 2  # A d = -gradient - residual

    def going(cg: _Cg) -> Bool[Array, ""]:
        gap = jnp.maximum(10, cg.iteration // 10)
        here, before = cg.models[cg.iteration], cg.models[jnp.maximum(cg.iteration - gap, 0)]
        slow = (cg.iteration > gap) & (here < 0) & (before - here < -5e-4 * gap * here)
        return (cg.square > small) & ~slow & ~cg.negative & (cg.iteration < limit)

    def advance(cg: _Cg) -> _Cg:
        image = product(cg.direction)
        curvature = tree.dot(cg.direction, image)
        negative = ~(curvature > 0)
        at_once = negative & (cg.iteration == 0)
        length = jnp.where(negative, 0, cg.square / jnp.where(negative, 1, curvature))
        solution = jnp.where(at_once, steepest, cg.solution + length * cg.direction)
        residual = cg.residual - length * image
        scaled = inverse * residual
        square = tree.dot(residual, scaled)
        direction = scaled + square / cg.square * cg.direction
        value = jnp.where(at_once, slope, model(solution, residual))
        models = cg.models.at[cg.iteration + 1].set(value)
        keep = cg.iteration == cg.save_next  # so the last iterate is not among them
        saved = _put(cg.saved, keep, cg.solution, cg.models[cg.iteration])
        save_next = jnp.where(keep, cg.save_next + 1 + 3 * cg.save_next // 10, cg.save_next)
        return _Cg(solution, residual, direction, square, models, saved, save_next, cg.iteration + 1, negative)

    scaled = inverse * residual
    models = jnp.zeros(limit + 1, gradient.dtype).at[0].set(model(start, residual))
    zero, one = jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32)
    saved = Saved(jnp.zeros((SAVED, gradient.size), gradient.dtype), jnp.zeros(SAVED, gradient.dtype), zero)
    first = _Cg(start, residual, scaled, tree.dot(residual, scaled), models, saved, one, zero, jnp.zeros((), bool))
    cg = jax.lax.while_loop(going, advance, first)
    last = cg.models[cg.iteration]

    def steepest_instead() -> tuple[Vector, Number]:
        curvature = tree.dot(steepest, product(steepest))
        bounded = curvature > 0
        length = jnp.where(bounded, -slope / jnp.where(bounded, curvature, 1), 1)
        return length * steepest, jnp.where(bounded, length / 2, 1) * slope

    lost = (slope < 0) & ~(last < 0)
    solution, last = jax.lax.cond(lost, steepest_instead, lambda: (cg.solution, last))
    return Minimised(solution, last, cg.saved, cg.iteration + lost)


def _put(saved: Saved, keep: Bool[Array, ""], point: Vector, model: Number) -> Saved:
    place = saved.count % SAVED
    points = saved.points.at[place].set(jnp.where(keep, point, saved.points[place]))
    models = saved.models.at[place].set(jnp.where(keep, model, saved.models[place]))
    return Saved(points, models, saved.count + keep)


def go_back(
    value_fn: Callable[[Vector], Number], found: Minimised, value: Number
) -> tuple[Vector, Number, Number, Int[Array, ""]]:
    """The best of the iterates in `found`, walking back from the last one, with loss `value`, while the loss falls.

    It goes no further where the model promises no decrease, as near a start that was no good. Returns the iterate, the
    loss and the model's value there, and the evaluations it took.

    Source: Martens 2010, section 4.6.
    """
    saved = found.saved
    most = jnp.minimum(saved.count, SAVED)

    def place(back):
        return (saved.count - back) % SAVED

    def going(carry):
        back, _, better, _ = carry
        return better & (back < most) & (saved.models[place(back + 1)] < 0)

    def further(carry):
        back, best, _, evaluations = carry
        trial = value_fn(saved.points[place(back + 1)])
        better = ~(trial >= best) & jnp.isfinite(trial)  # also where `best` is NaN
        return back + better, jnp.where(better, trial, best), better, evaluations + 1

    zero = jnp.zeros((), jnp.int32)
    back, value, _, evaluations = jax.lax.while_loop(going, further, (zero, value, jnp.ones((), bool), zero))
    stays = back == 0
    solution = jnp.where(stays, found.solution, saved.points[place(back)])
    return solution, value, jnp.where(stays, found.model, saved.models[place(back)]), evaluations


def reduction_ratio(value: Number, trial: Number, model: Number) -> Number:
    """The decrease of the loss over that of the model; 1/2, which says nothing, where the loss cannot resolve that."""
    resolved = model < -rounding(value)
    return jnp.where(resolved, (trial - value) / jnp.where(resolved, model, 1), 0.5)


def adapted(damping: Number, ratio: Number, shrink: float = 2 / 3) -> Number:
    """The damping, times `shrink` where `ratio` is above 3/4, divided by it where that is not at least 1/4 (or is NaN).

    Source: Levenberg and Marquardt's heuristic as in Martens 2010, section 4.1.
    """
    return damping * jnp.where(ratio > 0.75, shrink, jnp.where(ratio >= 0.25, 1, 1 / shrink)).astype(damping.dtype)


def fisher_diagonal(
    outputs_fn: Callable[[Vector], PyTree],
    outputs_loss: Callable[[PyTree], Array],
    point: Vector,
    key: Key,
    probes: int,
) -> Vector:
    """An estimate of the diagonal of the empirical Fisher information, the mean of squared gradients of the examples.

    The loss is a mean over the first axis of the outputs. With a random sign for each example the backward pass gives
    the sum of the signed gradients; its square has the sum of the squares as expectation, for all mixed terms vanish.

    Cost:    `probes` backward passes.
    Source:  Chapelle & Erhan 2011, for such probes; Martens 2010, section 4.7, for the diagonal as preconditioner.
    """
    outputs, backward = jax.vjp(outputs_fn, point)
    slopes, structure = jax.tree.flatten(jax.grad(outputs_loss)(outputs))

    def signed(slope: Array, key: Key) -> Array:
        examples = slope.shape[:1]
        signs = jax.random.rademacher(key, examples, slope.dtype)
        count = jnp.sqrt(jnp.asarray(signs.size, slope.dtype))
        return count * signs.reshape(examples + (1,) * (slope.ndim - 1)) * slope

    def square(key: Key) -> Vector:
        keys = jax.random.split(key, len(slopes))
        return backward(structure.unflatten(map(signed, slopes, keys)))[0] ** 2

    return jax.lax.map(square, jax.random.split(key, probes)).mean(0)


def gauss_newton(
    damping: Scalar = 1.0, *, cg_limit: int = 250, decay: Scalar = 0.95, probes: int = 0, average: Scalar = 0.9
) -> optax.GradientTransformationExtraArgs:
    """Hessian-free optimization: CG on (G + lambda I) d = -gradient with the generalised Gauss-Newton matrix G.

    `update` needs ``value``, ``grad``, ``value_fn``, ``outputs_fn`` and ``outputs_loss``, with ``value_fn(params) ==
    outputs_loss(outputs_fn(params))``; G = J' H J with the Jacobian J of the outputs and the Hessian H of their loss.
    CG begins at the last step's solution times `decay`; the loss decides how far to go back on its way; lambda follows
    the reduction ratio; the step is then shortened until the loss falls.

    The two functions of outputs may be those of a part of the batch, best another one each step: products cost as much
    less as it is smaller, and CG forgives an inexact G more than an inexact gradient. Then few CG iterations a step do
    better than many, which would follow the part, not the batch.

    damping: lambda >= 0 of the first step, traced. It never falls below rounding error of this, and 0 stays 0.
    cg_limit: at most so many CG iterations a step.
    probes: backward passes a step that estimate the diagonal of the empirical Fisher information, D; the
        preconditioner is (D + lambda)^0.75, and the identity where there are none. They take the loss for a mean over
        the first axis of the outputs.
    average: share of the earlier steps' estimates of D that their running average keeps at each step: 0 for that of
        the step alone, which has one degree of freedom a probe; 1 for the mean over all steps.

    Cost:    14 copies of the parameters, 8 of them iterates of CG, and one more with probes; a step takes two gradients
             (one of them to linearize) and `probes` more, some ggnvps and losses. Each counts as one, whatever it was
             evaluated on.
    Raises:  ValueError if damping is negative, decay or average not within [0, 1] where that can be seen, `cg_limit`
             below 1 or `probes` below 0.
    Source:  Martens 2010 (ICML); Martens & Sutskever 2012 for the decay; Chapelle & Erhan 2011 for random signs.
    """
    where = "gauss_newton"
    require(cg_limit >= 1, where, "at least one CG iteration", cg_limit=cg_limit)
    require(probes >= 0, where, "a number of probes", probes=probes)
    require_nonnegative(where, damping=damping)
    require_rate(where, "decay", decay)
    require_rate(where, "average", average)

    def init(params: PyTree) -> GaussNewtonState:
        flat, _ = ravel(params)
        number, zeros = jnp.zeros((), flat.dtype), (jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
        initial = jnp.asarray(damping, flat.dtype)
        solution, diagonal = jnp.zeros_like(flat), jnp.zeros_like(flat) if probes else None
        return GaussNewtonState(counts.none(), initial, solution, diagonal, number, *zeros, jnp.zeros((), bool))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        *_, outputs_fn, outputs_loss = required(where, extra, "value", "grad", "value_fn", "outputs_fn", "outputs_loss")
        fun, point, value, gradient, unravel = flatten(where, params, extra)

        def outputs_at(x: Vector) -> PyTree:
            return outputs_fn(unravel(x))

        _, product = linearized_ggnvp(outputs_at, outputs_loss, point)
        shift = state.damping
        inverse, diagonal = jnp.ones_like(point), state.diagonal
        if probes:
            key, share = jax.random.fold_in(jax.random.key(0), state.iterations), jnp.asarray(average, point.dtype)
            now = fisher_diagonal(outputs_at, outputs_loss, point, key, probes)
            so_far = (state.iterations + 1).astype(point.dtype)
            gain = jnp.where(share < 1, (1 - share) / (1 - share**so_far), 1 / so_far)
            diagonal = diagonal + gain * jnp.where(jnp.isfinite(now), now - diagonal, 0)  # else it is lost for good
            scale = (diagonal + shift) ** 0.75
            inverse = 1 / jnp.where(scale > 0, scale, 1)
        start = jnp.asarray(decay, point.dtype) * state.solution
        found = minimise_model(lambda v: product(v) + shift * v, gradient, start, inverse, cg_limit)
        direction, trial, model, losses = go_back(lambda d: fun(point + d), found, fun(point + found.solution))
        ratio = reduction_ratio(value, trial, model)
        searched = backtracking(fun, point, direction, value, gradient, known=trial)
        moved = searched.step > 0
        step = jnp.where(moved, searched.step * direction, 0)
        floor = jnp.finfo(point.dtype).eps * jnp.asarray(damping, point.dtype)
        used = state.counts.plus(
            loss=1 + losses + searched.evaluations, gradient=2 + probes, ggnvp=1 + found.iterations
        )
        return unravel(step), GaussNewtonState(
            used,
            jnp.maximum(adapted(shift, ratio), floor),
            jnp.where(moved, found.solution, 0),
            diagonal,
            ratio,
            found.iterations,
            state.iterations + 1,
            ~moved,
        )

    return optax.GradientTransformationExtraArgs(init, update)
