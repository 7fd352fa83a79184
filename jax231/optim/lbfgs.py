"""L-BFGS: a quasi-Newton method that keeps the last few steps instead of a matrix."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.optim import counts, limited_memory, reuse
from jax231.optim.flat import flatten, ravel
from jax231.optim.limited_memory import LimitedMemory
from jax231.optim.linesearch import at_most_one, strong_wolfe


class LbfgsState(NamedTuple):
    """The pairs, the evaluation at the new point, what was used, and whether the last line search failed."""

    memory: LimitedMemory
    kept: reuse.Kept
    counts: counts.Counts
    stalled: Bool[Array, ""]
    iterations: Int[Array, ""]


def lbfgs(damping: Scalar = 0.0, *, memory: int = 10, evaluations: int = 25) -> optax.GradientTransformationExtraArgs:
    """L-BFGS with a strong Wolfe line search, for an objective without noise.

    `update` needs ``value``, ``grad`` and ``value_fn``. Value and gradient at the accepted point stay in the state
    (`reuse.value_and_grad`), so a good step costs one gradient. The first step is at most one long. Where the search
    fails the memory is dropped once and steepest descent tried; where that fails as well the state is ``stalled``.
    Parameters narrower than float32 round the new point, so nothing is kept for them.

    damping: lambda >= 0, traced; the approximated matrix is H + lambda I (each difference y becomes y + lambda s),
        which shortens steps where the curvature is small or was negative. 0 is the classical method.
    memory: m, the number of pairs kept; `evaluations`: at most so many a line search.

    Cost:    (2m + 5) copies of the parameters; one gradient a good step, 12 m n multiplications besides.
    Raises:  ValueError if memory or evaluations is below 1, or damping is negative where it can be seen.
    Source:  Liu & Nocedal 1989; Nocedal & Wright 2006, algorithm 7.5. CS231n lecture 7.
    """
    require(memory >= 1, "lbfgs", "a memory of at least one pair", memory=memory)
    require(evaluations >= 1, "lbfgs", "at least one evaluation a line search", evaluations=evaluations)
    require_nonnegative("lbfgs", damping=damping)

    def init(params: PyTree) -> LbfgsState:
        flat, _ = ravel(params)
        pairs, false = limited_memory.empty(memory, flat), jnp.zeros((), bool)
        return LbfgsState(pairs, reuse.nothing(params), counts.none(), false, jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, value, gradient, unravel = flatten("lbfgs", params, extra)
        started = limited_memory.started(state.memory)
        direction = -limited_memory.apply(state.memory, gradient)
        descends = tree.dot(direction, gradient) < 0
        direction = jnp.where(started & descends, direction, -gradient)
        first = jnp.where(started, 1, at_most_one(gradient))
        evaluate = jax.value_and_grad(fun)
        found = strong_wolfe(evaluate, point, direction, value, gradient, first=first, limit=evaluations)
        moved = found.step > 0
        step = jnp.where(moved, found.step * direction, 0)
        difference = found.gradient - gradient + jnp.asarray(damping, step.dtype) * step
        pairs = limited_memory.forget(limited_memory.remember(state.memory, step, difference), ~moved)
        used = state.counts.plus(gradient=found.evaluations + jnp.where(state.kept.known, 0, 1))
        kept = reuse.keep(params, found.value, found.gradient)
        new = LbfgsState(pairs, kept, used, ~moved & ~started, state.iterations + 1)
        return unravel(step), new

    return optax.GradientTransformationExtraArgs(init, update)
