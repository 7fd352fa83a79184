"""Convolutions over images and their transpose."""

import math
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional import conv
from jax231.functional.initializers import Initializer, he, zeros
from jax231.functional.shapes import Padding, Pair, image_pair
from jax231.nn.layer import Layer


class Conv(Layer):
    """`conv.conv2d`; kernel (kh, kw, cin / groups, cout), bias (cout,) or none.

    Raises:  ValueError for groups that do not divide the channels.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        window: Pair,
        *,
        stride: Pair = 1,
        padding: Padding = "SAME",
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        kernel_init: Initializer = he(),
        bias_init: Initializer = zeros(),
        rngs: nnx.Rngs,
    ):
        kh, kw = image_pair(window, "window", where="Conv")
        fits = groups >= 1 and cin % groups == cout % groups == 0
        require(fits, "Conv", "channels that are multiples of the groups", cin=cin, cout=cout, groups=groups)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.kernel = nnx.Param(kernel_init(rngs.params(), (kh, kw, cin // groups, cout)))
        self.bias = nnx.Param(bias_init(rngs.params(), (cout,))) if bias else None

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow cout"]:
        """The pre-activations."""
        return conv.conv2d(
            self.cast(x),
            self.cast(self.kernel[...]),
            None if self.bias is None else self.cast(self.bias[...]),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def macs(self, inputs: tuple[Any, ...], output: Any) -> int:
        """Multiplications with a weight in a call; zeros of the padding count."""
        del inputs
        return math.prod(output.shape) * math.prod(self.kernel.shape[:-1])


class ConvTranspose(Layer):
    """`conv.conv2d_transpose`; kernel (kh, kw, cout, cin), bias (cout,) or none."""

    def __init__(
        self,
        cin: int,
        cout: int,
        window: Pair,
        *,
        stride: Pair = 1,
        padding: Padding = "SAME",
        bias: bool = True,
        kernel_init: Initializer = he(),
        rngs: nnx.Rngs,
    ):
        kh, kw = image_pair(window, "window", where="ConvTranspose")
        self.stride, self.padding = stride, padding
        self.kernel = nnx.Param(kernel_init(rngs.params(), (kh, kw, cout, cin)))
        self.bias = nnx.Param(zeros()(rngs.params(), (cout,))) if bias else None

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow cout"]:
        """The larger image."""
        return conv.conv2d_transpose(
            self.cast(x),
            self.cast(self.kernel[...]),
            None if self.bias is None else self.cast(self.bias[...]),
            stride=self.stride,
            padding=self.padding,
        )

    def macs(self, inputs: tuple[Any, ...], output: Any) -> int:
        """Multiplications with a weight in a call."""
        del output
        return math.prod(inputs[0].shape) * math.prod(self.kernel.shape[:-1])
