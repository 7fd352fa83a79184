"""The networks in JAX, over a module of operations: `jax231.functional`, or `kernel_bench.stock`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jax231.functional import softmax_cross_entropy
from kernel_bench import layers as ls
from kernel_bench.layers import Layer, walk
from kernel_bench.nets import Net
from kernel_bench.operands import MOMENTUM

Params = list[dict[str, Array]]
Stats = list[tuple[Array, Array]]
"""Running mean and variance of every batch norm."""


class State(NamedTuple):
    """What a training step hands to the next one."""

    params: Params
    velocity: Params
    stats: Stats


def start(net: Net, params: Params) -> State:
    """No velocity yet, statistics of a standard normal."""
    norms = [leaf.before[-1] for leaf in walk(net.layers, net.inputs) if isinstance(leaf.layer, ls.BatchNorm)]
    return State(params, jax.tree.map(jnp.zeros_like, params), [(jnp.zeros(c), jnp.ones(c)) for c in norms])


def loss(ops: Any, net: Net, params: Params, stats: Stats, x: Array, labels: Array) -> tuple[Array, Stats]:
    """The mean cross entropy, and the new running statistics."""
    new: Stats = []
    logits = forward(ops, net.layers, iter(params), iter(stats), new, x)
    return softmax_cross_entropy(logits, labels).mean(), new


def make_step(ops: Any, net: Net) -> Callable[[State, Array, Array, Array], tuple[State, Array]]:
    """One step of SGD with momentum."""

    def step(state: State, rate: Array, x: Array, labels: Array) -> tuple[State, Array]:
        params, velocity, stats = state
        objective = jax.value_and_grad(lambda params: loss(ops, net, params, stats, x, labels), has_aux=True)
        (value, stats), grads = objective(params)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
        return State(jax.tree.map(lambda p, v: p - rate * v, params, velocity), velocity, stats), value

    return step


def forward(
    ops: Any,
    layers: Sequence[Layer],
    params: Iterator[dict[str, Array]],
    stats: Iterator[tuple[Array, Array]],
    new: Stats,
    x: Array,
) -> Array:
    """Run the layers, taking parameters and statistics as they come and adding the new statistics to `new`."""
    for layer in layers:
        match layer:
            case ls.Conv(stride=stride):
                x = ops.conv2d(x, **next(params), stride=stride, padding=layer.pad)
            case ls.ConvTranspose(stride=stride):
                x = ops.conv2d_transpose(x, **next(params), stride=stride)
            case ls.BatchNorm():
                mean, var = next(stats)
                x, mean, var = ops.batch_norm_train(x, **next(params), mean=mean, var=var)
                new.append((mean, var))
            case ls.Relu():
                x = ops.relu(x)
            case ls.Pool("max", size, stride, padding):
                x = ops.max_pool(x, size, stride=stride, padding=padding)
            case ls.Pool(_, size, stride):
                x = ops.avg_pool(x, size, stride=stride)
            case ls.GlobalAvgPool():
                x = ops.global_avg_pool(x)
            case ls.Flatten():
                x = x.reshape(len(x), -1)
            case ls.Affine():
                x = ops.affine(x, **next(params))
            case ls.Embedding():
                x = ops.embedding(next(params)["table"], x)
            case ls.LSTM(units):
                zeros = jnp.zeros((len(x), units))
                _, x = ops.stacked_lstm([next(params)], [(zeros, zeros)], x)
            case ls.Residual(body, shortcut):
                y = forward(ops, body, params, stats, new, x)
                x = y + forward(ops, shortcut, params, stats, new, x)
            case ls.Concat(branches):
                x = jnp.concatenate([forward(ops, branch, params, stats, new, x) for branch in branches], -1)
    return x
