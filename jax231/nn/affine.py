"""The fully connected layer, and the one whose weights are dropped."""

import math
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from jax231.functional import linear
from jax231.functional.dropout import dropconnect, dropconnect_mean
from jax231.functional.initializers import Initializer, he, zeros
from jax231.nn.layer import Layer
from jax231.nn.noise import Noisy


class Affine(Layer):
    """``x kernel + bias``, `linear.affine`; kernel (fan_in, units), bias (units,) or none."""

    def __init__(
        self,
        fan_in: int,
        units: int,
        *,
        bias: bool = True,
        kernel_init: Initializer = he(),
        bias_init: Initializer = zeros(),
        rngs: nnx.Rngs,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (fan_in, units)))
        self.bias = nnx.Param(bias_init(rngs.params(), (units,))) if bias else None

    def __call__(self, x: Float[Array, "*batch fan_in"]) -> Float[Array, "*batch units"]:
        """The pre-activations."""
        bias = None if self.bias is None else self.cast(self.bias[...])
        return linear.affine(self.cast(x), self.cast(self.kernel[...]), bias)

    def macs(self, inputs: tuple[Any, ...], output: Any) -> int:
        """Multiplications with a weight in a call."""
        del inputs
        return math.prod(output.shape) * self.kernel.shape[0]


class DropConnect(Noisy):
    """An affine map that loses each weight with probability `rate` in training and uses the mean weight at test."""

    kind = "dropconnect"

    def __init__(
        self,
        fan_in: int,
        units: int,
        rate: float = 0.5,
        *,
        kernel_init: Initializer = he(),
        rngs: nnx.Rngs,
    ):
        super().__init__(rate, rngs=rngs)
        self.kernel = nnx.Param(kernel_init(rngs.params(), (fan_in, units)))
        self.bias = nnx.Param(zeros()(rngs.params(), (units,)))

    def __call__(self, x: Float[Array, "*batch fan_in"]) -> Float[Array, "*batch units"]:
        """The pre-activations."""
        kernel = self.cast(self.kernel[...])
        rate = self.chance()
        kernel = dropconnect_mean(kernel, rate) if self.deterministic else dropconnect(self.key(), kernel, rate)
        return linear.affine(self.cast(x), kernel, self.cast(self.bias[...]))

    macs = Affine.macs
