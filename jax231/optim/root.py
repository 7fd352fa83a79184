"""Division by the root of a sum or mean of squares, as in AdaGrad, RMSProp and Adam."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def divide_by_root(
    x: Float[Array, "*shape"], square: Float[Array, "*shape"], inside: jax.Array | float, outside: jax.Array | float
) -> Float[Array, "*shape"]:
    """``x / (sqrt(square + inside) + outside)``, and 0 where that denominator is 0.

    An entry whose gradient has always been zero has ``square = 0``: it must not move, also where both eps are 0.

    Gradient:  finite everywhere; 0 through the root where its argument is 0.
    """
    square = square + inside
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0) + outside
    return jnp.where(root > 0, x / jnp.where(root > 0, root, 1), 0)
