"""From images to vectors."""

import math

from jaxtyping import Array, Float

from jax231.core.checks import require


def flatten(x: Float[Array, "n ..."]) -> Float[Array, "n d"]:
    """Each example as one vector, in row-major order (h, w, c).

    Raises:  ValueError for an array without an axis of examples.
    """
    require(x.ndim >= 1, "flatten", "examples along the first axis", x=x)
    return x.reshape(len(x), math.prod(x.shape[1:]))
