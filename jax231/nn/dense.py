"""Dense blocks: every layer reads the feature maps of all layers before it, side by side, and adds a few."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jax231.nn.conv import Conv
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout
from jax231.nn.norm import BatchNorm
from jax231.nn.pool import AvgPool
from jax231.nn.sequential import rematerialized

BOTTLENECK = 4
"""Channels of the 1x1 convolution in multiples of the growth."""


class DenseLayer(Layer):
    """Batch norm, ReLU, 1x1 convolution; batch norm, ReLU, 3x3 convolution to `growth` new maps; dropout above 0.

    Source:  Huang et al. 2017 (arXiv:1608.06993), section 3, "bottleneck layers".
    """

    def __init__(self, cin: int, growth: int, *, dropout: float = 0.0, rngs: nnx.Rngs):
        inside = BOTTLENECK * growth
        self.norm1 = BatchNorm(cin, relu=True, rngs=rngs)
        self.conv1 = Conv(cin, inside, 1, padding=0, bias=False, rngs=rngs)
        self.norm2 = BatchNorm(inside, relu=True, rngs=rngs)
        self.conv2 = Conv(inside, growth, 3, padding=1, bias=False, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs) if dropout else None

    def __call__(self, *maps: Float[Array, "n h w _"]) -> Float[Array, "n h w growth"]:
        """The new maps, of all those before, which are stacked here."""
        x = maps[0] if len(maps) == 1 else jnp.concatenate(maps, -1)
        x = self.conv2(self.norm2(self.conv1(self.norm1(x))))
        return x if self.dropout is None else self.dropout(x)


class DenseBlock(Layer):
    """`layers` dense layers, called ``denselayer1 denselayer2 ...``; `cout` is `cin` and `growth` for each.

    With `remat` a gradient keeps of each layer its new maps only, and stacks, normalises and convolves again: memory
    that grows with the number of layers, not with its square.

    Source:  Huang et al. 2017 (arXiv:1608.06993), figure 1; Pleiss et al. 2017 (arXiv:1707.06990) for `remat`.
    """

    def __init__(
        self, cin: int, layers: int, growth: int, *, dropout: float = 0.0, remat: bool = False, rngs: nnx.Rngs
    ):
        self.remat = remat
        self.names = tuple(f"denselayer{number}" for number in range(1, layers + 1))
        for number, name in enumerate(self.names):
            setattr(self, name, DenseLayer(cin + number * growth, growth, dropout=dropout, rngs=rngs))
        self.cout = cin + layers * growth

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n h w cout"]:
        """All maps: the input's, then each layer's."""
        layers = [getattr(self, name) for name in self.names]
        maps = [x]
        for layer in layers:
            maps.append(rematerialized(layer, *maps) if self.remat else layer(*maps))
        return jnp.concatenate(maps, -1)


class Transition(Layer):
    """Batch norm, ReLU, 1x1 convolution to half the maps, 2x2 average pooling.

    Source:  Huang et al. 2017 (arXiv:1608.06993), section 3, with a compression of 0.5.
    """

    def __init__(self, cin: int, *, rngs: nnx.Rngs):
        self.cout = cin // 2
        self.norm = BatchNorm(cin, relu=True, rngs=rngs)
        self.conv = Conv(cin, self.cout, 1, padding=0, bias=False, rngs=rngs)
        self.pool = AvgPool(2)

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow cout"]:
        """Half the maps at half the resolution."""
        return self.pool(self.conv(self.norm(x)))
