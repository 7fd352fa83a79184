"""Normalisation layers."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jax231.core.types import Scalar
from jax231.functional import norm
from jax231.functional.activations import relu
from jax231.nn.layer import Layer


class BatchNorm(Layer):
    """`norm.batch_norm_train`, which also moves the running statistics, or `norm.batch_norm_eval`, which uses them.

    `momentum` is the share of the old statistics that is kept; `relu` takes the positive part in the same pass; `scale`
    is the first value of the scale, 0 for the last one of a residual branch (Goyal et al. 2017, arXiv:1706.02677).
    """

    def __init__(
        self,
        c: int,
        *,
        momentum: Scalar = 0.9,
        eps: Scalar = 1e-5,
        relu: bool = False,
        scale: float = 1.0,
        rngs: nnx.Rngs | None = None,
    ):
        del rngs  # nothing here is random; blocks hand it to every layer
        self.momentum, self.eps, self.relu = momentum, eps, relu
        self.scale = nnx.Param(jnp.full(c, scale, float))
        self.bias = nnx.Param(jnp.zeros(c, float))
        self.mean = nnx.BatchStat(jnp.zeros(c, float))
        self.var = nnx.BatchStat(jnp.ones(c, float))
        self.use_running_average = False

    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
        """`x` normalised over all axes but the last."""
        x, (scale, bias, mean, var) = self.cast(x), (p[...] for p in (self.scale, self.bias, self.mean, self.var))
        if self.use_running_average:
            y = norm.batch_norm_eval(x, scale, bias, mean, var, eps=self.eps)
            return relu(y) if self.relu else y
        y, self.mean[...], self.var[...] = norm.batch_norm_train(
            x, scale, bias, mean, var, momentum=self.momentum, eps=self.eps, relu=self.relu
        )
        return y


class _Normalisation(Layer):
    """A scale and a bias for each channel."""

    def __init__(self, c: int, *, eps: Scalar = 1e-5, rngs: nnx.Rngs | None = None):
        del rngs
        self.eps = eps
        self.scale = nnx.Param(jnp.ones(c, float))
        self.bias = nnx.Param(jnp.zeros(c, float))


class LayerNorm(_Normalisation):
    """`norm.layer_norm`."""

    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        """`x` normalised over its last axis."""
        return norm.layer_norm(self.cast(x), self.scale[...], self.bias[...], eps=self.eps)


class GroupNorm(_Normalisation):
    """`norm.group_norm`."""

    def __init__(self, c: int, groups: int, *, eps: Scalar = 1e-5, rngs: nnx.Rngs | None = None):
        super().__init__(c, eps=eps, rngs=rngs)
        self.groups = groups

    def __call__(self, x: Float[Array, "n *space c"]) -> Float[Array, "n *space c"]:
        """`x` normalised over space and over each group of channels."""
        return norm.group_norm(self.cast(x), self.scale[...], self.bias[...], self.groups, eps=self.eps)


class LocalResponseNorm(Layer):
    """`norm.local_response_norm`, AlexNet's."""

    def __init__(self, *, size: int = 5, k: Scalar = 2.0, alpha: Scalar = 1e-4, beta: Scalar = 0.75):
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta

    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
        """`x` divided by the energy of neighbouring channels."""
        return norm.local_response_norm(self.cast(x), size=self.size, k=self.k, alpha=self.alpha, beta=self.beta)


Norm = Callable[..., Layer]
"""``norm(c, rngs=rngs)``: what builds the normalisation layers of a block."""
