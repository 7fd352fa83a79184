"""The nearest training examples of every query, without the matrix of all distances.

Compiled, slabs of training examples pass by the queries, whose distances to them are formed in registers and looked at
in cache. The plain form does the same by blocks: a matrix product, and a partial sort of what is near with what is new.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jax231.core.precision import statistics_dtype
from jax231.kernels import native as compiled
from jax231.kernels.primitive import Call, apply, primitive

TEMPORARY = 2**22
"""Largest number of entries of a temporary array; the blocks are cut accordingly."""

MOST = 1024
"""Neighbours that a compiled query keeps in order; for more a partial sort is quicker."""

FEWEST = 8
"""Queries below which packing the training examples costs more than their products."""


def nearest(train: Array, queries: Array, middle: Array, *, k: int, metric: str) -> Array:
    """The places of the k nearest training examples: the nearest first, the earlier of equals.

    An example whose distance is not below infinity is nobody's neighbour; a query with fewer than k gets place 0 for
    the rest.

    Shapes:    train (n, d), queries (q, d), middle (d,), an origin near all of them -> (q, k), int32.
    Gradient:  0.
    """
    train, queries, middle = lax.stop_gradient((train, queries, middle))
    return apply(nearest_p, train, queries, middle, k=k, metric=metric)


def absolute_differences(a: Array, b: Array) -> Array:
    """The sum of the absolute differences of each of `a` (n, d) to each of `b` (m, d): (n, m)."""
    off = a[:, None] - b
    return (jnp.sign(off) * off).sum(-1)  # the gradient of `jnp.abs` at 0 is 1


def squared_distances(a: Array, b: Array) -> Array:
    """|a|^2 + |b|^2 - 2 a.b for each of `a` (n, d) and `b` (m, d): (n, m); 0 where that is below its rounding error."""
    squares = jnp.square(a).sum(-1)[:, None] + jnp.square(b).sum(-1)
    square = squares - 2 * jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)
    rounding = jnp.finfo(a.dtype).eps * math.sqrt(a.shape[1])
    return jnp.where((square <= rounding * squares) & (squares < jnp.inf), 0, square)


def block_size(metric: str, features: int) -> int:
    """How many examples of either kind a tile of distances takes: "l1" forms all differences of their features."""
    return max(1, math.isqrt(TEMPORARY // (max(1, features) if metric == "l1" else 1)))


def over_blocks(step: Callable[[Any, Array, Array, Array], Any], carry: Any, x: Array, size: int) -> Any:
    """Fold ``step(carry, start, new, block)`` over blocks of at most `size` examples of `x`.

    All blocks are equally long, so the last one begins early and `new` marks the examples that no block before it had.
    """
    size = min(size, len(x))

    def body(block: Array, carry: Any) -> Any:
        start = jnp.minimum(block * size, len(x) - size)
        new = start + jnp.arange(size) >= block * size
        return step(carry, start, new, lax.dynamic_slice_in_dim(x, start, size))

    return lax.fori_loop(0, -(-len(x) // size), body, carry) if size else carry


def _nearest(train: Array, queries: Array, middle: Array, *, k: int, metric: str) -> Array:
    size, wide = block_size(metric, train.shape[1]), statistics_dtype(train.dtype, queries.dtype)

    def measured(some: Array, others: Array) -> Array:
        """Distances or their squares: both have the same order."""
        if metric == "l1":
            return absolute_differences(some.astype(wide), others.astype(wide))
        return squared_distances(some.astype(wide) - middle, others.astype(wide) - middle)

    def of(queries: Array) -> Array:
        def look(best: tuple[Array, Array], start: Array, new: Array, examples: Array) -> tuple[Array, Array]:
            near, places = best
            distance = measured(queries, examples)
            distance = jnp.where(new & ~jnp.isnan(distance), distance, jnp.inf)
            negative, order = lax.top_k(-jnp.concatenate([near, distance], axis=1), k)  # prefers the earlier of equals
            kept = jnp.take_along_axis(places, jnp.minimum(order, k - 1), axis=1)
            return -negative, jnp.where(order < k, kept, start + order - k).astype(places.dtype)

        none = jnp.full((len(queries), k), jnp.inf, wide), jnp.zeros((len(queries), k), jnp.int32)
        return over_blocks(look, none, train, size)[1]

    def put(places: Array, start: Array, new: Array, some: Array) -> Array:
        del new
        return lax.dynamic_update_slice_in_dim(places, of(some), start, 0)

    return over_blocks(put, jnp.zeros((len(queries), k), jnp.int32), queries, size)


def _compiled(train: Any, queries: Any, middle: Any, *, laned: tuple[bool, ...], k: int, metric: str) -> Call | None:
    (n, d), (q, _) = train.shape[-2:], queries.shape[-2:]
    suffix = {"float32": "f32", "float64": "f64", "uint8": "u8"}.get(str(train.dtype))
    if suffix is None or queries.dtype != train.dtype or not d or q < FEWEST or k > MOST:
        return None
    lanes = next((x.shape[0] for x, lane in zip((train, queries, middle), laned, strict=True) if lane), 1)
    slab = max(1, TEMPORARY // (4 * d))
    numbers = np.array([lanes, n, q, d, k, min(n, slab), min(q, 4 * slab), metric == "l1"], np.int64)
    laned_numbers = np.array(laned, np.int64)
    workspace = compiled.workspace("nearest", numbers, middle.dtype.itemsize)
    return Call(f"nearest_{suffix}", {"numbers": numbers, "laned": laned_numbers}, workspace)


nearest_p = primitive("nearest", _nearest, _compiled)
