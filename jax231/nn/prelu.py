"""The leaky ReLU that learns its slope."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jax231.functional import activations
from jax231.nn.layer import Layer


class PReLU(Layer):
    """`activations.prelu` with a slope (c,) for each channel, 0.25 at first.

    Source: He et al. 2015 (arXiv:1502.01852), section 2.1.
    """

    def __init__(self, c: int, *, slope: float = 0.25, rngs: nnx.Rngs | None = None):
        del rngs  # nothing here is random; blocks hand it to every layer
        self.slope = nnx.Param(jnp.full(c, slope, float))

    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
        """`x` where it is positive, a share of it elsewhere."""
        return activations.prelu(self.cast(x), self.cast(self.slope[...]))
