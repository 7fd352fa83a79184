"""The operations as a user of JAX writes them without this library: XLA's own forms and JAX's own derivatives."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jax231.functional import affine, batch_norm_train, embedding, global_avg_pool, relu

__all__ = [
    "affine", "avg_pool", "batch_norm_train", "conv2d", "conv2d_transpose", "embedding", "global_avg_pool",
    "knn_predict", "max_pool", "relu", "stacked_lstm", "stacked_rnn",
]  # fmt: skip

LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv2d(
    x: Array, kernel: Array, bias: Array | None = None, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> Array:
    """`lax.conv_general_dilated`."""
    y = lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=LAYOUT, feature_group_count=groups
    )
    return y if bias is None else y + bias


def conv2d_transpose(x: Array, kernel: Array, *, stride: int) -> Array:
    """`lax.conv_transpose` with the kernel of the convolution that is transposed."""
    return lax.conv_transpose(x, kernel, (stride, stride), "SAME", dimension_numbers=LAYOUT, transpose_kernel=True)


def max_pool(x: Array, window: int, *, stride: int, padding: int = 0) -> Array:
    """`lax.reduce_window` with the maximum."""
    return lax.reduce_window(x, -jnp.inf, lax.max, *_windows(window, stride, padding))


def avg_pool(x: Array, window: int, *, stride: int) -> Array:
    """`lax.reduce_window` with the sum."""
    return lax.reduce_window(x, 0.0, lax.add, *_windows(window, stride, 0)) / window**2


def stacked_lstm(layers: Sequence[Any], carries: Sequence[Any], xs: Array) -> tuple[None, Array]:
    """A `lax.scan` a layer, both products of a step inside it."""

    def cell(params: Any, carry: Any, x: Array) -> Any:
        h, c = carry
        i, f, o, g = jnp.split(x @ params["wx"] + h @ params["wh"] + params["b"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return _stacked(cell, layers, carries, xs)


def stacked_rnn(layers: Sequence[Any], carries: Sequence[Any], xs: Array) -> tuple[None, Array]:
    """A `lax.scan` a layer, both products of a step inside it."""

    def cell(params: Any, h: Array, x: Array) -> Any:
        h = jnp.tanh(x @ params["wx"] + h @ params["wh"] + params["b"])
        return h, h

    return _stacked(cell, layers, carries, xs)


def knn_predict(train_x: Array, train_y: Array, x: Array, k: int) -> Array:
    """All distances at once, `lax.top_k`, and a count of the votes."""
    distance = jnp.square(train_x).sum(-1) - 2 * x @ train_x.T
    _, places = lax.top_k(-distance, k)
    return jax.nn.one_hot(train_y[places], 10).sum(1).argmax(-1).astype(train_y.dtype)


def _windows(window: int, stride: int, padding: int) -> tuple[Any, ...]:
    return (1, window, window, 1), (1, stride, stride, 1), ((0, 0), (padding, padding), (padding, padding), (0, 0))


def _stacked(cell: Any, layers: Sequence[Any], carries: Sequence[Any], xs: Array) -> tuple[None, Array]:
    xs = jnp.swapaxes(xs, 0, 1)
    for params, carry in zip(layers, carries, strict=True):
        _, xs = lax.scan(lambda carry, x, params=params: cell(params, carry, x), carry, xs)
    return None, jnp.swapaxes(xs, 0, 1)
