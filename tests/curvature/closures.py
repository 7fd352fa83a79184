"""Objectives as closures over data, masks and statistics: small networks, and matrices as operators on trees."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax231.core import tree
from jax231.functional import (
    affine,
    batch_norm_train,
    conv2d,
    dropout,
    lstm,
    max_pool,
    sequence_cross_entropy,
    softmax_cross_entropy,
)

PyTree = Any


class Closure(NamedTuple):
    """A model on fixed data and the loss of its outputs; needs 64-bit types when it is called."""

    outputs_fn: Callable[[PyTree], PyTree]
    outputs_loss: Callable[[PyTree], jax.Array]
    params: PyTree

    def loss(self, params: PyTree) -> jax.Array:
        return self.outputs_loss(self.outputs_fn(params))


def conv_net() -> Closure:
    """Convolution, batch normalisation, ReLU, max pooling, dropout by a frozen key, three classes."""
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(4, 4, 4, 2)), np.array([0, 2, 1, 2])
    params = {
        "conv": {"kernel": rng.normal(size=(3, 3, 2, 2)) / 4, "bias": rng.normal(size=2)},
        "norm": {"scale": 1 + rng.normal(size=2) / 4, "bias": rng.normal(size=2)},
        "head": {"weight": rng.normal(size=(8, 3)) / 2, "bias": rng.normal(size=3)},
    }

    def logits(params):
        conv, norm, head = params["conv"], params["norm"], params["head"]
        h = conv2d(x, conv["kernel"], conv["bias"])
        h, _, _ = batch_norm_train(h, norm["scale"], norm["bias"], np.zeros(2), np.ones(2), relu=True)
        h = max_pool(h, 2).reshape(4, 8)
        return affine(dropout(jax.random.key(5), h, 0.3), head["weight"], head["bias"])

    return Closure(logits, lambda z: softmax_cross_entropy(z, labels).mean(), params)


def lstm_net() -> Closure:
    """An LSTM that predicts tokens; the outputs are a tree of logits and last state, and the loss reads both."""
    rng = np.random.default_rng(4)
    x, labels = rng.normal(size=(3, 4, 2)), rng.integers(0, 3, (3, 4))
    params = {
        "lstm": {"wx": rng.normal(size=(2, 12)), "wh": rng.normal(size=(3, 12)) / 2, "b": rng.normal(size=12)},
        "head": {"weight": rng.normal(size=(3, 3)), "bias": rng.normal(size=3)},
    }

    def outputs(params):
        (h, _), ys = lstm(params["lstm"], (np.zeros((3, 3)), np.zeros((3, 3))), x)
        return {"logits": affine(ys, params["head"]["weight"], params["head"]["bias"]), "last": h}

    def loss(outputs):
        return sequence_cross_entropy(outputs["logits"], labels).mean() + 0.1 * jnp.sum(outputs["last"] ** 4)

    return Closure(outputs, loss, params)


NETS = {"conv_net": conv_net, "lstm_net": lstm_net}


LIKE = {"kernel": np.zeros((2, 3)), "rest": (np.zeros(()), np.zeros(5))}
"""A tree of 12 numbers, for operators made from matrices."""


def operator(matrix: Any) -> Callable[[PyTree], PyTree]:
    """The matrix (12, 12) as a map on trees like `LIKE`."""

    def product(vector: PyTree) -> PyTree:
        flat, unravel = tree.ravel(vector)
        return unravel(jnp.asarray(matrix, flat.dtype) @ flat)

    return product


def spectrum(eigenvalues: Any, seed: int = 0) -> np.ndarray:
    """A symmetric matrix with these eigenvalues in a random basis."""
    values = np.asarray(eigenvalues, float)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(values.size, values.size)))
    return (basis * values) @ basis.T


def as_vector(vector: PyTree) -> np.ndarray:
    """A tree as a vector, in the order of `tree.ravel`."""
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(vector)])


def rows(stack: PyTree) -> np.ndarray:
    """A stack of trees as a matrix with one row each."""
    return np.concatenate([np.reshape(x, (len(x), -1)) for x in jax.tree.leaves(stack)], axis=1)
