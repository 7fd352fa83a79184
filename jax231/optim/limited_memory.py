"""The inverse Hessian as the last m pairs of a step and a gradient difference know it: the matrix of L-BFGS.

With the pairs as columns of S and Y, the upper triangle R of S'Y (older rows, newer columns), its diagonal D and the
scale g, the matrix is

    g I + [S  gY] [[R^-T (D + g Y'Y) R^-1,  -R^-T], [-R^-1,  0]] [S  gY]'

so that a product with it takes a few matrix-vector products, where the recursion over the pairs takes 2m dependent
steps. Nothing in it depends on the order of the places that the pairs are kept in: a new pair takes the place of the
oldest, and nothing is moved. The inverse of a triangle without its first row and column is its inverse without them,
and a new column of R adds one column to its inverse; so R^-1 is never computed afresh.
"""

from typing import NamedTuple

import jax.numpy as jnp
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
    return memory.inverse.any()


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
    places = jnp.arange(memory.curvatures.size)
    here = places == memory.free
    steps = memory.steps.at[memory.free].set(step)
    differences = memory.differences.at[memory.free].set(difference)
    column = jnp.where(here, 1, -_times(memory.inverse, _times(steps, difference)))
    column = column / jnp.where(positive, product, 1)
    free = (memory.free + 1) % places.size
    oldest = places == free
    inverse = jnp.where(here, column[:, None], memory.inverse)
    inverse = jnp.where(oldest[:, None] | oldest, 0, inverse)
    images = _times(differences, difference)
    products = jnp.where(here[:, None], images, jnp.where(here, images[:, None], memory.products))
    curvatures = jnp.where(here, product, memory.curvatures)
    longer = inverse, products, curvatures, product / jnp.where(positive, square, 1), free
    return LimitedMemory(steps, differences, *tree.where(positive, longer, memory[2:]))


def _times(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.matmul(a, b, precision="highest")
