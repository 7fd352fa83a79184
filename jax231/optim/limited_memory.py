"""The inverse Hessian as the last m pairs of a step and a gradient difference know it: the matrix of L-BFGS.

With the pairs as columns of S and Y, the upper triangle R of S'Y (older rows, newer columns), its diagonal D and the
scale g, the matrix is

    g I + [S  gY] [[R^-T (D + g Y'Y) R^-1,  -R^-T], [-R^-1,  0]] [S  gY]'

so that a product with it takes a few matrix-vector products, where the recursion over the pairs takes 2m dependent
steps. Nothing in it depends on the order of the places that the pairs are kept in: a new pair takes the place of the
oldest, and nothing is moved. The inverse of a triangle without its first row and column is its inverse without them,
and a new column of R adds one column to its inverse; so R^-1 is never computed afresh.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.optim.secant import curvature

Vector = Float[Array, " n"]


class LimitedMemory(NamedTuple):
    """The newest pairs in places of which one is free, and the small matrices of their products.

    Rows and columns of the free place and of the empty ones are 0 in `inverse`, whatever the other fields hold there.
    """

    steps: Float[Array, "places n"]
    differences: Float[Array, "places n"]
    inverse: Float[Array, "places places"]
    """R^-1."""
    products: Float[Array, "places places"]
    """Y'Y."""
    curvatures: Float[Array, " places"]
    """D, the products s.y."""
    scale: Float[Array, ""]
    """s.y / y.y of the newest pair; 1 before there is one."""
    free: Int[Array, ""]
    """The place that the next pair takes."""


def empty(pairs: int, like: Vector) -> LimitedMemory:
    """No pairs yet, and room for so many: the matrix is the identity."""
    places, dtype = pairs + 1, like.dtype
    vectors, matrix = jnp.zeros((places, like.size), dtype), jnp.zeros((places, places), dtype)
    none = jnp.zeros(places, dtype), jnp.ones((), dtype), jnp.zeros((), jnp.int32)
    return LimitedMemory(vectors, jnp.zeros_like(vectors), matrix, jnp.zeros_like(matrix), *none)


def started(memory: LimitedMemory) -> Bool[Array, ""]:
    """Whether there is a pair."""
    newest = memory.free - 1
    return memory.inverse[newest, newest] != 0


def forget(memory: LimitedMemory, condition: Bool[Array, ""]) -> LimitedMemory:
    """`memory` without its pairs where `condition` holds: the matrix is the identity again."""
    inverse, scale = jnp.where(condition, 0, memory.inverse), jnp.where(condition, 1, memory.scale)
    return memory._replace(inverse=inverse, scale=scale)


def apply(memory: LimitedMemory, vector: Vector) -> Vector:
    """The matrix times `vector`.

    Cost:    8 m n multiplications.
    Source:  Byrd, Nocedal & Schnabel 1994 (Math. Program. 63), theorem 2.2.
    """
    shares = _times(memory.inverse, _times(memory.steps, vector))
    remainder = memory.scale * (_times(memory.products, shares) - _times(memory.differences, vector))
    weights = _times(memory.curvatures * shares + remainder, memory.inverse)
    return memory.scale * (vector - _times(shares, memory.differences)) + _times(weights, memory.steps)


def remember(memory: LimitedMemory, step: Vector, difference: Vector) -> LimitedMemory:
    """`memory` with the newest pair; as it was where the pair has no positive curvature.

    Cost:    4 m n multiplications.
    Source:  Nocedal & Wright 2006, equation 7.20 for the scale; section 6.1 for the skip.
    """
    product, square, positive = curvature(step, difference)
    step, difference = tree.where(positive, (step, difference), tree.zeros_like((step, difference)))
    here, room = memory.free, memory.curvatures.size
    steps = _put(memory.steps, step, here)
    differences = _put(memory.differences, difference, here)
    column = -_times(memory.inverse, _times(steps, difference)) / jnp.where(positive, product, 1)
    column = _put(column, jnp.where(positive, 1 / jnp.where(positive, product, 1), 0), here)
    images = _times(differences, difference)
    # A pair without positive curvature lies in the free place as zeros, and the place stays free.
    free = jnp.where(positive, (here + 1) % room, here)
    nothing = jnp.zeros_like(column)
    inverse = _put(_put(_put(memory.inverse.T, column, here), nothing, free).T, nothing, free)
    products = _put(_put(memory.products, images, here).T, images, here)
    curvatures = _put(memory.curvatures, jnp.where(positive, product, 0), here)
    scale = jnp.where(positive, product / jnp.where(positive, square, 1), memory.scale)
    return LimitedMemory(steps, differences, inverse, products, curvatures, scale, free)


@custom_vmap
def _put(
    rows: Float[Array, "places ..."], row: Float[Array, "..."], place: Int[Array, ""]
) -> Float[Array, "places ..."]:
    """`rows` with `row` in a place of them."""
    return jax.lax.dynamic_update_index_in_dim(rows, row, place, 0)


@_put.def_vmap
def _put_in_lanes(size: int, batched: Any, rows: Array, row: Array, place: Array) -> tuple[Array, bool]:
    """By a choice entry by entry: lanes with places of their own would be scattered one by one."""
    rows, row, place = (
        x if has_lanes else jnp.broadcast_to(x, (size, *x.shape))
        for x, has_lanes in zip((rows, row, place), batched, strict=True)
    )
    here = jnp.arange(rows.shape[1]) == place[:, None]
    return jnp.where(here.reshape(here.shape + (1,) * (rows.ndim - 2)), row[:, None], rows), True


def _times(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.matmul(a, b, precision="highest")
