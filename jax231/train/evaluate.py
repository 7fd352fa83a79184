"""How good parameters are on a split: exact means over all its examples, by one compiled program."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.types import Batch, PyTree
from jax231.data.stream import ImageFiles, Judging
from jax231.data.views import Views
from jax231.functional.losses import softmax_cross_entropy
from jax231.functional.metrics import confusion_matrix
from jax231.train import answers, streamed
from jax231.train.config import Config
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


class Together(NamedTuple):
    """Scores of networks that predict together: of each alone, and of the first 1, 2, ... of them as one."""

    members: tuple[Scores, ...]
    growing: tuple[Scores, ...]

    @property
    def ensemble(self) -> Scores:
        """The scores of all together."""
        return self.growing[-1]

    @property
    def mean(self) -> Scores:
        """The means over members of what each scores alone."""
        losses, accuracies, areas = zip(*[(x.loss, x.accuracy, x.mean_iou) for x in self.members], strict=True)
        area = None if None in areas else float(np.mean(areas))
        return Scores(float(np.mean(losses)), float(np.mean(accuracies)), self.ensemble.examples, area)


class Sums(NamedTuple):
    """Of each batch: sums over its examples; of several networks with an axis for them."""

    loss: Float[Array, "batches *rows"]
    hits: Float[Array, "batches *rows"]
    confusion: PyTree = None


class Part(NamedTuple):
    """A split on the device as `program` reads it: images and labels, or windows of a text; and how many there are.

    Of images that are streamed `data` is the source of their batches, and damaged ones are counted, too.
    """

    data: PyTree
    count: int


Evaluate = Callable[[PyTree, PyTree, Part], Scores]
EvaluateTogether = Callable[[PyTree, PyTree, Part], Together]


def laid_out(config: Config, splits: Splits, part: Batch) -> Part:
    """A split on the device; a text in pieces that are read side by side, window by window."""
    if isinstance(part.inputs, ImageFiles):
        return Part(Judging(part.inputs, part.targets, BATCH), len(part.inputs))
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


def program(config: Config, network: Network, splits: Splits, views: Views | None = None) -> Evaluate:
    """``evaluate(params, state, part) -> scores``, compiled once for parts of one size.

    With `views` the scores are those of the mean of the probabilities that the model gives to views of an image.
    """
    taken = _taken(config, network, splits, views, several=False)

    def evaluate(params: PyTree, state: PyTree, part: Part) -> Scores:
        return _scores(*taken(params, state, part))

    return evaluate


def together(config: Config, network: Network, splits: Splits, views: Views | None = None) -> EvaluateTogether:
    """``evaluate(params, state, part)`` of parameters and states of several networks, with a first axis for them."""
    taken = _taken(config, network, splits, views, several=True)

    def evaluate(params: PyTree, state: PyTree, part: Part) -> Together:
        (found, examples), count = taken(params, state, part), len(jax.tree.leaves(params)[0])
        each = [jax.tree.map(lambda x, i=i: x[:, i], found) for i in range(found.loss.shape[1])]
        rows = [_scores(one, examples) for one in each]
        return Together(tuple(rows[:count]), (rows[0], *rows[count:]))

    return evaluate


def _scores(found: Sums, count: int) -> Scores:
    return Scores(
        float(found.loss.sum(dtype=np.float64) / count),
        float(found.hits.sum(dtype=np.float64) / count),
        count,
        None if found.confusion is None else _mean_iou(found.confusion.sum(0)),
    )


def _taken(
    config: Config, network: Network, splits: Splits, views: Views | None, *, several: bool
) -> Callable[[PyTree, PyTree, Part], tuple[Sums, int]]:
    """``taken(params, state, part)``: the sums, and over how many examples; those of a stream come batch by batch."""
    if splits.stats is None:
        require(views is None, "views", "a run on images", model=network.entry.name)
        return _whole(_text(config, network, several=several))
    answer = answers.plain(network, splits.stats)
    if views is not None:
        answer = answers.viewed(answer, network.entry, views)
    if several:
        answer = answers.together(answer, network.entry)
    judge = _judge(network, answer, len(splits.classes), several=several)
    most = MASKS if network.entry.of_pixels else BATCH
    whole, single = _whole(_images(judge, most)), jax.jit(judge)

    def taken(params: PyTree, state: PyTree, part: Part) -> tuple[Sums, int]:
        if isinstance(part.data, Judging):
            return streamed.judged(lambda *batch: single(params, state, *batch), part.data)
        return whole(params, state, part)

    return taken


def _whole(sums: Callable[..., Sums]) -> Callable[[PyTree, PyTree, Part], tuple[Sums, int]]:
    compiled = jax.jit(sums)
    return lambda params, state, part: (jax.tree.map(np.asarray, compiled(params, state, part.data)), part.count)


def _judge(network: Network, answer: answers.Answer, classes: int, *, several: bool) -> Callable[..., Sums]:
    """``judge(params, state, images, targets, weight)``: the sums over images, each as often as it weighs."""
    overlap = network.entry.of_pixels

    def judged(outputs: PyTree, targets: Array, weight: Array) -> Sums:
        matrix = None
        if overlap:
            found = jnp.argmax(network.entry.scores(outputs), -1)
            pixels = jnp.broadcast_to(weight.reshape(-1, *[1] * (targets.ndim - 1)), targets.shape)
            matrix = confusion_matrix(found, targets, classes, weight=pixels)
        losses, hits = network.losses(outputs, targets), network.hits(outputs, targets)
        return Sums(jnp.sum(weight * losses), jnp.sum(weight * hits), matrix)

    over_rows = jax.vmap(judged, in_axes=(0, None, None)) if several else judged

    def judge(params: PyTree, state: PyTree, images: Array, targets: Array, weight: Array) -> Sums:
        return over_rows(answer(params, state, images), targets, weight)

    return judge


def _images(judge: Callable[..., Sums], most: int) -> Callable[..., Sums]:
    """Batches of `most` images; the last one reaches back into the one before, whose examples then weigh nothing."""

    def sums(params: PyTree, state: PyTree, data: PyTree) -> Sums:
        count = len(data[0])
        size = min(most, count)

        def one(i: Array) -> Sums:
            at = jnp.minimum(i * size, count - size)
            images, targets = (jax.lax.dynamic_slice_in_dim(x, at, size) for x in data)
            weight = (at + jnp.arange(size) >= i * size).astype(jnp.float32)
            return judge(params, state, images, targets, weight)

        return jax.lax.map(one, jnp.arange(-(-count // size)))

    return sums


def _text(config: Config, network: Network, *, several: bool) -> Callable[..., Sums]:
    """Windows one after the other, with the carry from zero."""
    answer = answers.plain(network, None)
    if several:
        answer = answers.together(answer, network.entry)

    def judged(scores: Array, targets: Array, weight: Array) -> Sums:
        losses = softmax_cross_entropy(scores, targets)
        return Sums(jnp.sum(weight * losses), jnp.sum(weight * (jnp.argmax(scores, -1) == targets)))

    judge = jax.vmap(judged, in_axes=(0, None, None)) if several else judged

    def sums(params: PyTree, state: PyTree, data: PyTree) -> Sums:
        def window(carry: PyTree, one: PyTree) -> tuple[PyTree, Sums]:
            inputs, targets, weight = one
            carry, scores = answer(params, state, (carry, inputs))
            return carry, judge(scores, targets, weight)

        carry = first_carry(config, network, data[0].shape[1])
        if several:
            carry = answers.repeated(carry, len(jax.tree.leaves(params)[0]))
        return jax.lax.scan(window, carry, data)[1]

    return sums


def _mean_iou(matrix: np.ndarray) -> float:
    """`metrics.mean_iou` from the confusion matrix."""
    matrix = matrix.astype(np.float64)
    both = np.diagonal(matrix)
    either = matrix.sum(0) + matrix.sum(1) - both
    return float((both[either > 0] / either[either > 0]).mean())
