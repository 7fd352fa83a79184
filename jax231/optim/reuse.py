"""Values and gradients that a line search already has, handed on to the next step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jax231.core import tree
from jax231.core.types import PyTree
from jax231.optim.flat import Vector, ravel


class Kept(NamedTuple):
    """Value and gradient of the objective at the parameters that the last update led to, where `known`."""

    known: Bool[Array | np.ndarray, ""]
    value: Float[Array, ""]
    grad: PyTree


def nothing(params: PyTree) -> Kept:
    """No evaluation yet."""
    return Kept(jnp.zeros((), bool), jnp.zeros((), ravel(params)[0].dtype), tree.zeros_like(params))


def keep(params: PyTree, value: Float[Array, ""], gradient: Vector) -> Kept:
    """The evaluation at the next parameters, of a vector as long as `params`.

    Leaves narrower than `gradient` round the new parameters, and then the evaluation is not one there.
    """
    vector, unravel = ravel(params)
    exact = all(jnp.result_type(leaf) == vector.dtype for leaf in jax.tree.leaves(params))
    return Kept(np.asarray(exact), value, unravel(gradient))


def value_and_grad(value_fn: Callable[[PyTree], jax.Array], params: PyTree, state: PyTree) -> tuple[jax.Array, PyTree]:
    """Value and gradient at `params`, from the optimizer's `state` where it has just evaluated them there.

    Only for an objective that is the same function in every step (full batch, no noise): a kept value of another batch
    would be another function's. A state without a field ``kept`` is evaluated afresh.
    """
    evaluate = jax.value_and_grad(value_fn)
    kept = getattr(state, "kept", None)
    if kept is None:
        return evaluate(params)
    if isinstance(kept.known, np.ndarray) and kept.known:  # the update was in this very program
        return kept.value, kept.grad

    def fresh():
        return jax.tree.map(lambda x, like: x.astype(like.dtype), evaluate(params), (kept.value, kept.grad))

    return jax.lax.cond(kept.known, lambda: (kept.value, kept.grad), fresh)
