"""L-BFGS: a quasi-Newton method that keeps the last few steps instead of a matrix."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.optim import counts
from jax231.optim.flat import flatten, ravel
from jax231.optim.linesearch import strong_wolfe
from jax231.optim.reuse import Kept


class Memory(NamedTuple):
    """The last m steps and gradient differences, oldest first, with 1/(s.y) (0 where a place is still empty)."""

    steps: Float[Array, "m n"]
    differences: Float[Array, "m n"]
    inverse_products: Float[Array, " m"]


class LbfgsState(NamedTuple):
    """Memory, the evaluation at the new point, what was used, and whether the last line search failed."""

    memory: Memory
    scale: Float[Array, ""]
    kept: Kept
    counts: counts.Counts
    stalled: Bool[Array, ""]
    iterations: Int[Array, ""]


def two_loop(memory: Memory, scale: Float[Array, ""], vector: Float[Array, " n"]) -> Float[Array, " n"]:
    """The inverse Hessian approximation of `memory`, started from ``scale * I``, times `vector`.

    Source: Nocedal & Wright 2006, algorithm 7.4.
    """

    def backward(remainder, pair):
        step, difference, inverse = pair
        share = inverse * tree.dot(step, remainder)
        return remainder - share * difference, share

    def forward(result, pair):
        (step, difference, inverse), share = pair
        return result + (share - inverse * tree.dot(difference, result)) * step, None

    remainder, shares = jax.lax.scan(backward, vector, memory, reverse=True)
    result, _ = jax.lax.scan(forward, scale * remainder, (memory, shares))
    return result


def remember(
    memory: Memory, scale: Float[Array, ""], step: Float[Array, " n"], difference: Float[Array, " n"]
) -> tuple[Memory, Float[Array, ""]]:
    """`memory` with the newest pair and the scale s.y / y.y, both unchanged where the pair has no positive curvature.

    Source: Nocedal & Wright 2006, equation 7.20; the skip is that of section 6.1.
    """
    product, square = tree.dot(step, difference), tree.dot(difference, difference)
    bound = jnp.finfo(step.dtype).eps * jnp.sqrt(tree.dot(step, step) * square)
    positive = product > bound
    inverse = 1 / jnp.where(positive, product, 1)
    newest = Memory(step, difference, inverse)
    longer = Memory(*(jnp.roll(old, -1, 0).at[-1].set(new) for old, new in zip(memory, newest, strict=True)))
    return tree.where(positive, (longer, product / jnp.where(positive, square, 1)), (memory, scale))


def lbfgs(damping: Scalar = 0.0, *, memory: int = 10, evaluations: int = 25) -> optax.GradientTransformationExtraArgs:
    """L-BFGS with a strong Wolfe line search, for an objective without noise.

    `update` needs ``value``, ``grad`` and ``value_fn``. Value and gradient at the accepted point stay in the state
    (`reuse.value_and_grad`), so a good step costs one gradient. The first step is at most one long. Where the search
    fails the memory is dropped once and steepest descent tried; where that fails as well the state is ``stalled``.
    Parameters narrower than float32 round the new point, so nothing is kept for them.

    damping: lambda >= 0, traced; the approximated matrix is H + lambda I (each difference y becomes y + lambda s),
        which shortens steps where the curvature is small or was negative. 0 is the classical method.
    memory: m, the number of pairs kept; `evaluations`: at most so many a line search.

    Cost:    (2m + 3) copies of the parameters; one gradient a good step, 4 m n multiplications besides.
    Raises:  ValueError if memory or evaluations is below 1, or damping is negative where it can be seen.
    Source:  Liu & Nocedal 1989; Nocedal & Wright 2006, algorithm 7.5. CS231n lecture 7.
    """
    require(memory >= 1, "lbfgs", "a memory of at least one pair", memory=memory)
    require(evaluations >= 1, "lbfgs", "at least one evaluation a line search", evaluations=evaluations)
    require_nonnegative("lbfgs", damping=damping)

    def empty(flat: Float[Array, " n"]) -> Memory:
        pairs = jnp.zeros((memory, flat.size), flat.dtype)
        return Memory(pairs, pairs, jnp.zeros(memory, flat.dtype))

    def init(params: PyTree) -> LbfgsState:
        flat, _ = ravel(params)
        zero, false = jnp.zeros((), flat.dtype), jnp.zeros((), bool)
        kept = Kept(false, zero, tree.zeros_like(params))
        return LbfgsState(empty(flat), jnp.ones((), flat.dtype), kept, counts.none(), false, jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, value, gradient, unravel = flatten("lbfgs", params, extra)
        direction = -two_loop(state.memory, state.scale, gradient)
        started = state.memory.inverse_products[-1] > 0
        descends = tree.dot(direction, gradient) < 0
        direction = jnp.where(started & descends, direction, -gradient)
        length = tree.norm(gradient)
        first = jnp.where(started, 1, jnp.minimum(1, 1 / jnp.maximum(length, jnp.finfo(length.dtype).tiny)))
        evaluate = jax.value_and_grad(fun)
        found = strong_wolfe(evaluate, point, direction, value, gradient, first=first, limit=evaluations)
        moved = found.step > 0
        step = jnp.where(moved, found.step * direction, 0)
        difference = found.gradient - gradient + jnp.asarray(damping, step.dtype) * step
        longer, scale = remember(state.memory, state.scale, step, difference)
        cleared = (empty(point), jnp.ones_like(scale))
        pairs, scale = tree.where(moved, (longer, scale), cleared)
        used = state.counts.plus(gradient=found.evaluations + jnp.where(state.kept.known, 0, 1))
        # Leaves of a narrower type round the new point, and then the evaluation is not one there.
        exact = all(jnp.result_type(leaf) == point.dtype for leaf in jax.tree.leaves(params))
        kept = Kept(jnp.asarray(exact), found.value, unravel(found.gradient))
        new = LbfgsState(pairs, scale, kept, used, ~moved & ~started, state.iterations + 1)
        return unravel(step), new

    return optax.GradientTransformationExtraArgs(init, update)
