"""A small ConvNet of the course's pattern: [conv - relu - pool] * 2 - fc."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.types import Model
from jax231.functional.activations import relu
from jax231.functional.conv import conv2d
from jax231.functional.initializers import gaussian, he
from jax231.functional.linear import affine
from jax231.functional.pool import max_pool


def convnet(shape: tuple[int, ...], classes: int, *, channels: tuple[int, ...] = (8, 16)) -> Model:
    """3x3 convolutions with relu, each followed by 2x2 max pooling, and an affine map to the scores.

    Shapes:  inputs (n, h, w, c) -> (n, classes); h and w at least 2 ** len(channels).
    Raises:  ValueError if the image is too small for the pooling, or `channels` is empty.
    Source:  CS231n lecture 5 (summary: [(CONV-RELU)*N-POOL]*M-(FC-RELU)*K, SOFTMAX).
    """
    require(len(shape) == 3, "convnet", "images (h, w, c)", shape=shape)
    require(len(channels) >= 1, "convnet", "at least one convolution", channels=channels)
    height, width, depth = shape
    least = 2 ** len(channels)
    require(min(height, width) >= least, "convnet", f"images of at least {least}x{least}", shape=shape)
    features = (height // least) * (width // least) * channels[-1]
    names = [f"conv{i}" for i in range(1, len(channels) + 1)]

    def init(key: jax.Array):
        keys = jax.random.split(key, len(channels) + 1)
        params = {}
        for name, fan, units, layer_key in zip(names, (depth, *channels), channels, keys, strict=False):
            kernel = he()(layer_key, (3, 3, fan, units))
            params[name] = {"kernel": kernel, "bias": jnp.zeros(units, kernel.dtype)}
        # Small scores: pooling keeps the largest values, and a variance of 1/fan_in would start far above log k.
        kernel = gaussian(0.01)(keys[-1], (features, classes))
        params["scores"] = {"kernel": kernel, "bias": jnp.zeros(classes, kernel.dtype)}
        return params, {}

    def apply(params, state, inputs: Float[Array, "n h w c"], *, train=False, key=None, rates=None):
        x = inputs
        for name in names:
            x = max_pool(relu(conv2d(x, params[name]["kernel"], params[name]["bias"])), 2)
        return affine(x.reshape(len(x), -1), params["scores"]["kernel"], params["scores"]["bias"]), state

    return Model(init, apply)
