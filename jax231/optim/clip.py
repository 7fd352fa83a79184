"""Gradients cut to a bound, by their norm or by value; their norm before the cut comes back with them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.checks import require_positive
from jax231.core.types import PyTree, Scalar
from jax231.optim.objective import hidden
from jax231.optim.wrapped import Wrapped


class Clipped(NamedTuple):
    """The gradient after the cut, and its Euclidean norm over all leaves before it."""

    grads: PyTree
    norm: Float[Array, ""]


def by_norm(grads: PyTree, limit: Scalar) -> Clipped:
    """`grads` scaled down to the norm `limit` where theirs is larger; the direction stays.

    As in Optax; PyTorch divides by ``norm + 1e-6``. An infinite entry becomes NaN, and all others 0.

    Shapes:  the leaves keep their dtypes; the norm is float32 at least.
    Raises:  ValueError if `limit` is not positive where it can be seen.
    Source:  Pascanu et al. 2013 (arXiv:1211.5063), algorithm 1.
    """
    require_positive("clip.by_norm", limit=limit)
    norm = tree.norm(grads)
    over = norm > limit
    return Clipped(tree.scale(jnp.where(over, limit / jnp.where(over, norm, 1), 1), grads), norm)


def by_value(grads: PyTree, limit: Scalar) -> Clipped:
    """Every entry of `grads` cut to [-limit, limit]; the direction changes.

    Shapes:  the leaves keep their dtypes; the norm, before the cut, is float32 at least.
    Raises:  ValueError if `limit` is not positive where it can be seen.
    """
    require_positive("clip.by_value", limit=limit)
    return Clipped(jax.tree.map(lambda g: jnp.clip(g, -limit, limit).astype(g.dtype), grads), tree.norm(grads))


def clipped(
    tx: optax.GradientTransformation, limit: Scalar, by: Callable[[PyTree, Scalar], Clipped] = by_norm
) -> optax.GradientTransformationExtraArgs:
    """`tx` on clipped gradients; ``state.own`` is the norm of the last gradient before the cut.

    Raises:  ValueError if `limit` is not positive where it can be seen, and while tracing if `tx` evaluates the
             objective: a line search has its own means against long steps.
    """
    require_positive("clipped", limit=limit)
    tx = optax.with_extra_args_support(tx)

    def init(params: PyTree) -> Wrapped:
        return Wrapped(tx.init(params), jnp.zeros_like(tree.norm(params)))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        grads, norm = by(updates, limit)
        extra = hidden("clipped", "second-order methods bound their steps by damping and line search", extra)
        steps, inner = tx.update(grads, state.inner, params, **extra)
        return steps, Wrapped(inner, norm.astype(state.own.dtype))

    return optax.GradientTransformationExtraArgs(init, update)
