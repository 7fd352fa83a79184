"""How good parameters are on a split: exact means over all its examples, by one compiled program."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax231.core.types import Batch, PyTree
from jax231.functional.losses import softmax_cross_entropy
from jax231.functional.metrics import confusion_matrix
from jax231.train.config import Config
from jax231.train.feed import preprocessed
from jax231.train.network import Network
from jax231.train.splits import Splits
from jax231.train.step import first_carry

BATCH = 256
"""Examples that are evaluated at a time."""

MASKS = 32
"""Images with the class of every pixel that are evaluated at a time: all layers of theirs are large."""


class Scores(NamedTuple):
    """Means over a split: the loss, the share of right answers, and the mean overlap of areas where the model has it.

    Of a text they are means over characters; `examples` counts them.
    """

    loss: float
    accuracy: float
    examples: int
    mean_iou: float | None = None


class Sums(NamedTuple):
    """Of each batch: sums over its examples."""

    loss: Float[Array, "batches"]
    hits: Float[Array, "batches"]
    confusion: PyTree = None


class Part(NamedTuple):
    """A split on the device as `program` reads it: images and labels, or windows of a text; and how many there are."""

    data: PyTree
    count: int


Evaluate = Callable[[PyTree, PyTree, Part], Scores]


def laid_out(config: Config, splits: Splits, part: Batch) -> Part:
    """A split on the device; a text in pieces that are read side by side, window by window."""
    if splits.stats is not None:
        return Part((jnp.asarray(part.inputs), jnp.asarray(part.targets)), len(part.inputs))
    codes = np.asarray(part.inputs)
    count = len(codes) - 1
    rows = max(1, min(config.batch or 1, count // config.length))
    windows = -(-count // (rows * config.length))
    room = rows * windows * config.length

    def laid(x: np.ndarray) -> Array:
        padded = np.concatenate([x, np.zeros(room - count, x.dtype)])
        return jnp.asarray(padded.reshape(rows, windows, config.length).swapaxes(0, 1))

    return Part((laid(codes[:-1]), laid(codes[1:]), laid(np.ones(count, np.float32))), count)


def program(config: Config, network: Network, splits: Splits) -> Evaluate:
    """``evaluate(params, state, part) -> scores``, compiled once for parts of one size."""
    sums = jax.jit((_text if splits.stats is None else _images)(config, network, splits))

    def evaluate(params: PyTree, state: PyTree, part: Part) -> Scores:
        found = jax.tree.map(np.asarray, sums(params, state, part.data))
        return Scores(
            float(found.loss.sum(dtype=np.float64) / part.count),
            float(found.hits.sum(dtype=np.float64) / part.count),
            part.count,
            None if found.confusion is None else _mean_iou(found.confusion.sum(0)),
        )

    return evaluate


def _images(config: Config, network: Network, splits: Splits) -> Callable[..., Sums]:
    """Batches of images; the last one reaches back into the one before, whose examples then weigh nothing."""
    plain, classes = preprocessed(splits.stats), len(splits.classes)
    overlap = "mean_iou" in network.entry.metrics

    def sums(params: PyTree, state: PyTree, data: PyTree) -> Sums:
        count = len(data[0])
        size = min(MASKS if overlap else BATCH, count)

        def one(i: Array) -> Sums:
            at = jnp.minimum(i * size, count - size)
            images, targets = (jax.lax.dynamic_slice_in_dim(x, at, size) for x in data)
            weight = (at + jnp.arange(size) >= i * size).astype(jnp.float32)
            outputs, _ = network.model.apply(params, state, plain(images), train=False)
            matrix = None
            if overlap:
                found = jnp.argmax(network.entry.scores(outputs), -1)
                pixels = jnp.broadcast_to(weight.reshape(-1, *[1] * (targets.ndim - 1)), targets.shape)
                matrix = confusion_matrix(found, targets, classes, weight=pixels)
            losses, hits = network.losses(outputs, targets), network.hits(outputs, targets)
            return Sums(jnp.sum(weight * losses), jnp.sum(weight * hits), matrix)

        return jax.lax.map(one, jnp.arange(-(-count // size)))

    return sums


def _text(config: Config, network: Network, splits: Splits) -> Callable[..., Sums]:
    """Windows one after the other, with the carry from zero."""

    def sums(params: PyTree, state: PyTree, data: PyTree) -> Sums:
        def window(carry: PyTree, one: PyTree) -> tuple[PyTree, Sums]:
            inputs, targets, weight = one
            (carry, scores), _ = network.model.apply(params, state, (carry, inputs), train=False)
            losses = softmax_cross_entropy(scores, targets)
            return carry, Sums(jnp.sum(weight * losses), jnp.sum(weight * (jnp.argmax(scores, -1) == targets)))

        return jax.lax.scan(window, first_carry(config, network, data[0].shape[1]), data)[1]

    return sums


def _mean_iou(matrix: np.ndarray) -> float:
    """`metrics.mean_iou` from the confusion matrix."""
    matrix = matrix.astype(np.float64)
    both = np.diagonal(matrix)
    either = matrix.sum(0) + matrix.sum(1) - both
    return float((both[either > 0] / either[either > 0]).mean())
