"""A step and the difference of the gradients at its ends: what quasi-Newton methods learn curvature from."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jax231.core import tree

Vector = Float[Array, " n"]


class Curvature(NamedTuple):
    """Of a pair s, y: the product s.y, the square y.y, and whether the product is above what rounding makes of 0."""

    product: Float[Array, ""]
    square: Float[Array, ""]
    positive: Bool[Array, ""]


def curvature(step: Vector, difference: Vector) -> Curvature:
    """What the pair knows of the curvature along `step`; not positive where an entry is not a number.

    Source: Nocedal & Wright 2006, section 6.1, for leaving out pairs without positive curvature.
    """
    product, square = tree.dot(step, difference), tree.dot(difference, difference)
    bound = jnp.finfo(step.dtype).eps * jnp.sqrt(tree.dot(step, step) * square)
    return Curvature(product, square, product > bound)
