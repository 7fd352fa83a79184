"""Inception modules: convolutions of several sizes side by side, their outputs stacked along the channels."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jax231.functional.shapes import Padding
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer
from jax231.nn.norm import BatchNorm
from jax231.nn.pool import MaxPool


class Widths(NamedTuple):
    """Channels of an inception module, as in the columns of the paper's table 1."""

    ones: int
    reduce3: int
    threes: int
    reduce5: int
    fives: int
    pooled: int

    def scaled(self, factor: float) -> "Widths":
        """All of them times `factor`."""
        return Widths(*(scaled(width, factor) for width in self))


def scaled(width: int, factor: float) -> int:
    """So many channels times `factor`, rounded, at least one."""
    return max(1, round(factor * width))


class BasicConv(Layer):
    """A convolution without bias, batch normalisation with torchvision's eps of 1e-3, and ReLU."""

    def __init__(self, cin: int, cout: int, window: int, *, stride: int = 1, padding: Padding = 0, rngs: nnx.Rngs):
        self.conv = Conv(cin, cout, window, stride=stride, padding=padding, bias=False, rngs=rngs)
        self.bn = BatchNorm(cout, eps=1e-3, relu=True, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow cout"]:
        """The activations."""
        return self.bn(self.conv(x))


class Inception(Layer):
    """Four branches: 1x1; 1x1 and 3x3; 1x1 and 3x3; 3x3 max pooling and 1x1. `cout` is the sum of their channels.

    The paper's third branch is 5x5. Torchvision's, whose trained weights fit here, is 3x3: a slip of its first port
    that was kept. Normalisation, which the paper does not have, is torchvision's too.

    Source:  Szegedy et al. 2015 (arXiv:1409.4842), figure 2 (b).
    """

    def __init__(self, cin: int, widths: Widths, *, rngs: nnx.Rngs):
        ones, reduce3, threes, reduce5, fives, pooled = widths
        self.cout = ones + threes + fives + pooled
        self.branch1 = BasicConv(cin, ones, 1, rngs=rngs)
        self.branch2 = nnx.List(
            [BasicConv(cin, reduce3, 1, rngs=rngs), BasicConv(reduce3, threes, 3, padding=1, rngs=rngs)]
        )
        self.branch3 = nnx.List(
            [BasicConv(cin, reduce5, 1, rngs=rngs), BasicConv(reduce5, fives, 3, padding=1, rngs=rngs)]
        )
        self.branch4 = nnx.List([MaxPool(3, stride=1, padding=1), BasicConv(cin, pooled, 1, rngs=rngs)])

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n h w cout"]:
        """The activations, branch after branch."""
        outputs = [self.branch1(x)]
        for first, second in (self.branch2, self.branch3, self.branch4):
            outputs.append(second(first(x)))
        return jnp.concatenate(outputs, -1)
