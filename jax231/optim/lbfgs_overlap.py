"""L-BFGS on mini-batches that overlap, so that curvature is the difference of two gradients on the same examples.

The course says that L-BFGS "does not transfer very well to mini-batch setting". The difference of the gradients of two
batches is curvature times step plus the difference of two samples' noise, and for short steps the noise wins. On the
examples that both batches share the noise cancels. The step is still that of a noisy gradient.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative, require_positive
from jax231.core.types import PyTree, Scalar
from jax231.optim import counts, limited_memory
from jax231.optim.arguments import required
from jax231.optim.flat import ravel
from jax231.optim.limited_memory import LimitedMemory
from jax231.optim.objective import scalar


class LbfgsOverlapState(NamedTuple):
    """The pairs, the parameters before the last step, what was used, and whether the last step failed."""

    memory: LimitedMemory
    previous: Float[Array, " n"]
    counts: counts.Counts
    stalled: Bool[Array, ""]
    iterations: Int[Array, ""]


def overlapping_batches(order: Int[np.ndarray, " n"], size: int, overlap: int) -> Int[np.ndarray, "batches size"]:
    """The indices `order` in batches of `size` whose first `overlap` are the last ones of the batch before.

    Examples that do not fill a batch are left out.

    Raises:  ValueError unless 0 <= overlap < size <= n.
    """
    fits = 0 <= overlap < size <= len(order)
    require(fits, "overlapping_batches", "0 <= overlap < size <= n", overlap=overlap, size=size, n=len(order))
    starts = np.arange(0, len(order) - size + 1, size - overlap)
    return order[starts[:, None] + np.arange(size)]


def lbfgs_overlap(
    rate: Scalar = 0.1, *, damping: Scalar = 0.0, memory: int = 10
) -> optax.GradientTransformationExtraArgs:
    """Multi-batch L-BFGS: ``x -= rate * H * gradient``, H from gradient differences on what batches share.

    `update` needs ``grad`` on the whole batch and ``overlap_fn``, the loss as a function of the parameters on the
    examples that this batch shares with the one before (the first `overlap` of `overlapping_batches`). A pair is the
    last step and the difference of the gradients of ``overlap_fn`` at its two ends; pairs without positive curvature
    are left out. The first step is that of steepest descent, at most `rate` long. There is no line search: a batch's
    loss is not the objective. Where the direction does not descend on the batch, steepest descent takes its place;
    where that is not a number either the parameters stay, and the state is ``stalled``.

    rate: traced; `damping`: lambda >= 0, traced, each difference y becomes y + lambda s.
    memory: m, the number of pairs kept.

    Cost:    (2m + 5) copies of the parameters; a gradient on the batch and two on the overlap, each of which counts
        as one.
    Raises:  ValueError if memory is below 1, rate not positive or damping negative where they can be seen, or for an
        ``overlap_fn`` that does not return one number.
    Source:  Berahas, Nocedal & Takáč 2016 (arXiv:1605.06049), algorithm 1. CS231n lecture 7.
    """
    require(memory >= 1, "lbfgs_overlap", "a memory of at least one pair", memory=memory)
    require_positive("lbfgs_overlap", rate=rate)
    require_nonnegative("lbfgs_overlap", damping=damping)

    def init(params: PyTree) -> LbfgsOverlapState:
        flat, _ = ravel(params)
        pairs = limited_memory.empty(memory, flat)
        false, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
        return LbfgsOverlapState(pairs, jnp.array(flat), counts.none(), false, zero)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        grad, overlap_fn = required("lbfgs_overlap", extra, "grad", "overlap_fn")
        point, unravel = ravel(params)
        gradient = ravel(grad)[0].astype(point.dtype)
        step = point - state.previous
        loss = scalar("lbfgs_overlap", overlap_fn)
        shared = jax.grad(lambda flat: jnp.asarray(loss(unravel(flat)), point.dtype))
        difference = shared(point) - shared(state.previous) + jnp.asarray(damping, point.dtype) * step
        pairs = limited_memory.remember(state.memory, step, difference)
        direction = -limited_memory.apply(pairs, gradient)
        descends = limited_memory.started(pairs) & (tree.dot(direction, gradient) < 0)
        steepest = -gradient / jnp.maximum(tree.norm(gradient), 1)
        move = jnp.asarray(rate, point.dtype) * jnp.where(descends, direction, steepest)
        moved = jnp.isfinite(move).all() & (move != 0).any()
        used = state.counts.plus(gradient=3)
        new = LbfgsOverlapState(pairs, point, used, ~moved, state.iterations + 1)
        return unravel(jnp.where(moved, move, 0)), new

    return optax.GradientTransformationExtraArgs(init, update)
