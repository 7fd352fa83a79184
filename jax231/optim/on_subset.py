"""An optimizer of either order on some of the parameters, the others standing still."""

from typing import Any

import jax
import optax

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.optim.objective import seen_through
from jax231.optim.paths import Chosen, part, whole
from jax231.optim.wrapped import Wrapped


def on_subset(tx: optax.GradientTransformation, chosen: Chosen) -> optax.GradientTransformationExtraArgs:
    """`tx` on the parameters whose name is chosen, as in ``on_subset(lbfgs(), matching("head/*"))``.

    `tx` sees the objective as a function of these alone: gradient, ``value_fn`` and ``outputs_fn`` are restricted to
    them, and its state, be it a dense Hessian, has their size. The parameters keep their names for masks inside `tx`.
    (Optax's `masked` hands the objective on as it is, which a line search cannot use.)

    Raises:    ValueError in ``init`` if nothing is chosen, and for ``taps``, whose layers cannot be split.
    """
    tx = optax.with_extra_args_support(tx)

    def init(params: PyTree) -> Wrapped:
        some = part(params, chosen)
        require(bool(jax.tree.leaves(some)), "on_subset", "at least one chosen parameter", names=tree.names(params))
        return Wrapped(tx.init(some))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        require(extra.get("taps") is None, "on_subset", "an optimizer without taps", given=sorted(extra))
        inside = seen_through(extra, lambda some: whole(some, params))
        if inside.get("grad") is not None:
            inside["grad"] = part(inside["grad"], chosen)
        some = None if params is None else part(params, chosen)
        steps, inner = tx.update(part(updates, chosen), state.fresh(), some, **inside)
        return whole(steps, tree.zeros_like(updates)), Wrapped(inner)

    return optax.GradientTransformationExtraArgs(init, update)
