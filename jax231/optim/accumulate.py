"""Steps from the mean over several micro-batches, whose gradients do not fit into memory together."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.precision import statistics_dtype
from jax231.core.types import PyTree
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.objective import LOSSES, hidden, require_scalar, scalar
from jax231.optim.wrapped import Wrapped

EXAMPLE = "give accumulate an example of a micro-batch, and update each of them as batch="


class Collected(NamedTuple):
    """Micro-batches since the last step: how many, the sums of their gradients and values, and they themselves."""

    count: Int[Array, ""]
    grads: PyTree
    value: Array
    batches: PyTree


def accumulate(
    tx: optax.GradientTransformation, batches: int, example: PyTree = None
) -> optax.GradientTransformationExtraArgs:
    """`tx`, of either order, once every `batches` calls of ``update``, on the mean objective of their micro-batches.

    The calls between return updates of zero. Gradients (and values, where given) are averaged in float32 at least. That
    is all a first-order method needs.

    A method that evaluates the objective (a line search, CG) must evaluate it on all the micro-batches of its step.
    They are kept in the state: give one of them as `example`, hand each to ``update`` as ``batch=``, and let the
    functions take it: ``value_fn(params, batch)``, ``outputs_fn(params, batch)``, ``outputs_loss(outputs, batch)``,
    ``per_example_fn(params, batch)``, ``overlap_fn(params, batch)``, ``curvature_fn(params, batch)``. What else differs
    between micro-batches, such as the key of a dropout mask, belongs into the batch. `tx` then sees the mean over all
    of them, evaluated one after the other; derivatives recompute each instead of storing it. All micro-batches weigh
    the same. Outputs get an axis of micro-batches in front. The next step has other micro-batches: that is noise to a
    method that needs the same function in every step.

    Cost:      one copy of the gradients and, for a method that evaluates the objective, the micro-batches themselves.
    Raises:    ValueError if `batches` is below 1, if `tx` evaluates the objective and there is no `example`, for a
               batch unlike the example, a loss that is not one number, and for ``taps``.
    """
    require(batches >= 1, "accumulate", "at least one micro-batch a step", batches=batches)
    tx = keep_dtypes(tx)

    def nothing(params: PyTree) -> Collected:
        sums = jax.tree.map(lambda x: jnp.zeros(jnp.shape(x), statistics_dtype(jnp.result_type(x))), params)
        room = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * batches), example)
        return Collected(jnp.zeros((), jnp.int32), sums, jnp.zeros_like(tree.norm(sums)), room)

    def init(params: PyTree) -> Wrapped:
        return Wrapped(tx.init(params), nothing(params))

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, value: Any = None, batch: PyTree = None, **extra: Any
    ):
        require(extra.get("taps") is None, "accumulate", "an optimizer without taps", given=sorted(extra))
        seen = state.own
        batch = None if example is None else _like(example, batch)
        kept = jax.tree.map(lambda room, x: room.at[seen.count].set(x), seen.batches, batch)
        count = seen.count + 1
        grads = jax.tree.map(lambda total, g: total + g.astype(total.dtype), seen.grads, updates)
        total = seen.value
        if value is not None:
            require_scalar("accumulate", value)
            total = total + jnp.asarray(value, total.dtype)

        def step():
            mean = tree.scale(1 / batches, grads)
            given = hidden("accumulate", EXAMPLE, extra) if example is None else _over(kept, extra)
            if value is not None:
                given["value"] = total / batches
            steps, inner = tx.update(mean, state.fresh(), params, **given | {"grad": mean})
            steps = jax.tree.map(lambda x, like: x.astype(like.dtype), steps, updates)
            empty = Collected(jnp.zeros_like(count), tree.zeros_like(grads), jnp.zeros_like(total), kept)
            return steps, Wrapped(inner, empty)

        def wait():
            return tree.zeros_like(updates), Wrapped(state.inner, Collected(count, grads, total, kept))

        return jax.lax.cond(count == batches, step, wait)

    return optax.GradientTransformationExtraArgs(init, update)


def _over(batches: PyTree, extra: dict[str, Any]) -> dict[str, Any]:
    """The extra arguments with their functions of parameters and batch as functions over all `batches`."""
    given = dict(extra)

    def one_by_one(fun: Callable[..., Any], *xs: PyTree) -> PyTree:
        # Without the checkpoint the scan would store what each micro-batch needs for its derivative.
        return jax.lax.map(lambda x: jax.checkpoint(fun, prevent_cse=False)(*x), xs)

    for name in LOSSES:
        if extra.get(name) is not None:
            loss = scalar("accumulate", extra[name])
            given[name] = lambda p, loss=loss: jnp.mean(one_by_one(lambda batch: loss(p, batch), batches))
    if extra.get("per_example_fn") is not None:
        losses = extra["per_example_fn"]
        given["per_example_fn"] = lambda p: one_by_one(lambda batch: losses(p, batch), batches).reshape(-1)
    if extra.get("outputs_fn") is not None:
        outputs_fn, outputs_loss = extra["outputs_fn"], scalar("accumulate", extra["outputs_loss"])
        given["outputs_fn"] = lambda p: one_by_one(lambda batch: outputs_fn(p, batch), batches)
        given["outputs_loss"] = lambda outputs: jnp.mean(one_by_one(outputs_loss, outputs, batches))
    return given


def _like(example: PyTree, batch: PyTree) -> PyTree:
    """`batch`, which has the structure and the shapes of `example`."""

    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(x)] for x in (batch, example)]
    same = shapes[0] == shapes[1] and jax.tree.structure(batch) == jax.tree.structure(example)
    require(same, "accumulate", "batch= in update, like the example", batch=shapes[0], example=shapes[1])
    return batch
