"""The stage of a plain ConvNet: (conv - relu) * N - pool?"""

import itertools
from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from jax231.functional.activations import relu
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer
from jax231.nn.norm import BatchNorm
from jax231.nn.pool import MaxPool


class ConvRelu(Layer):
    """A 3x3 convolution that keeps the size of the image, batch normalisation where it is wanted, and relu."""

    def __init__(self, cin: int, cout: int, *, batch_norm: bool = False, bias: bool = True, rngs: nnx.Rngs):
        self.conv = Conv(cin, cout, 3, bias=bias, rngs=rngs)
        self.norm = BatchNorm(cout, relu=True) if batch_norm else None

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n h w cout"]:
        """The activations."""
        x = self.conv(x)
        return relu(x) if self.norm is None else self.norm(x)


class Stage(Layer):
    """A `ConvRelu` for each of the `channels`, and 2x2 max pooling if `pool`."""

    def __init__(
        self,
        cin: int,
        channels: Sequence[int],
        *,
        pool: bool = True,
        batch_norm: bool = False,
        bias: bool = True,
        rngs: nnx.Rngs,
    ):
        options = {"batch_norm": batch_norm, "bias": bias}
        pairs = itertools.pairwise((cin, *channels))
        self.layers = nnx.List([ConvRelu(*pair, **options, rngs=rngs) for pair in pairs])
        self.pool = MaxPool(2) if pool else None

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow cout"]:
        """The activations, at half the resolution if they are pooled."""
        for layer in self.layers:
            x = layer(x)
        return x if self.pool is None else self.pool(x)
