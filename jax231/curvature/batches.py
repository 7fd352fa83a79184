"""Means over a whole data set, batch by batch: losses, gradients, products with curvature matrices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.curvature.vectors import wide


def over_batches(fun: Callable[..., PyTree], *, size: int) -> Callable[..., PyTree]:
    """From ``fun(*args, batch)``, a mean over the examples of its batch, the same mean over all data in one loop.

    ``over_batches(fun, size=256)(*args, data)`` takes `size` examples at a time; the last batch has what is left. Any
    tree of arrays is added up, in float32 at least, and comes back in its own floating types:

        gradient = over_batches(jax.grad(loss), size=256)(params, data)
        product = over_batches(lambda p, v, batch: hvp(lambda q: loss(q, batch), p, v), size=256)
        product(params, vector, data)

    Differentiate inside, as here: a derivative of the whole keeps what the backward pass of every batch reads. With
    batch normalisation each batch is normalised by itself, so the mean depends on `size`.

    Shapes:  every array in data (n, ...), each example counted once.
    Raises:  ValueError for a size below 1, data without examples, arrays of different length.
    """
    where = "over_batches"
    require(size >= 1, where, "batches of at least one example", size=size)

    def whole(*args: Any) -> PyTree:
        *rest, data = args
        count = examples(where, data)
        full, left = divmod(count, size)

        def share(start: jax.Array | int, length: int) -> PyTree:
            batch = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, length), data)
            return tree.scale(length / count, wide(fun(*rest, batch)))

        def add(total: PyTree, start: jax.Array) -> tuple[PyTree, None]:
            return tree.add(total, share(start, size)), None

        first = jax.tree.map(lambda x: jax.lax.slice_in_dim(x, 0, min(size, count)), data)
        types = jax.eval_shape(lambda batch: fun(*rest, batch), first)
        total = jax.tree.map(jnp.zeros_like, jax.eval_shape(wide, types))
        if full:
            total, _ = jax.lax.scan(add, total, size * jnp.arange(full))
        if left:
            total = tree.add(total, share(count - left, left))
        return jax.tree.map(_in_type_of, total, types)

    return whole


def examples(where: str, data: PyTree) -> int:
    """The common length of all arrays in `data`.

    Raises:  ValueError for different lengths, for arrays without an axis, and where there is nothing.
    """
    shapes = [jnp.shape(x) for x in jax.tree.leaves(data)]
    lengths = {shape[0] if shape else 0 for shape in shapes}
    one = len(lengths) == 1 and 0 not in lengths
    require(one, where, "data whose arrays have one length, the number of examples", shapes=shapes)
    return lengths.pop()


def _in_type_of(x: jax.Array, like: jax.ShapeDtypeStruct) -> jax.Array:
    return x.astype(like.dtype) if jnp.issubdtype(like.dtype, jnp.floating) else x
