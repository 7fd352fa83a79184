"""Values and gradients that a line search already has, handed on to the next step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float

from jax231.core.types import PyTree


class Kept(NamedTuple):
    """Value and gradient of the objective at the parameters that the last update led to, where `known`."""

    known: Bool[Array, ""]
    value: Float[Array, ""]
    grad: PyTree


def value_and_grad(value_fn: Callable[[PyTree], jax.Array], params: PyTree, state: PyTree) -> tuple[jax.Array, PyTree]:
    """Value and gradient at `params`, from the optimizer's `state` where it has just evaluated them there.

    Only for an objective that is the same function in every step (full batch, no noise): a kept value of another batch
    would be another function's. A state without a field ``kept`` is evaluated afresh.
    """
    evaluate = jax.value_and_grad(value_fn)
    kept = getattr(state, "kept", None)
    if kept is None:
        return evaluate(params)

    def fresh():
        return jax.tree.map(lambda x, like: x.astype(like.dtype), evaluate(params), (kept.value, kept.grad))

    return jax.lax.cond(kept.known, lambda: (kept.value, kept.grad), fresh)
