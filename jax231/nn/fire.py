"""SqueezeNet's module: few channels in, so that the 3x3 filters are small."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jax231.functional.activations import relu
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer


class Fire(Layer):
    """1x1 down to `squeeze` channels, then `expand` of 1x1 filters beside `expand` of 3x3 filters.

    Source:  Iandola et al. 2016 (arXiv:1602.07360), section 3.2.
    """

    def __init__(self, cin: int, squeeze: int, expand: int, *, rngs: nnx.Rngs):
        self.squeeze = Conv(cin, squeeze, 1, padding=0, rngs=rngs)
        self.expand1x1 = Conv(squeeze, expand, 1, padding=0, rngs=rngs)
        self.expand3x3 = Conv(squeeze, expand, 3, padding=1, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n h w twice_expand"]:
        """The activations, those of the 1x1 filters first."""
        x = relu(self.squeeze(x))
        return relu(jnp.concatenate([self.expand1x1(x), self.expand3x3(x)], -1))
