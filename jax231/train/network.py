"""The model of a configuration: its pure functions, and its losses and hits example by example."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.types import Batch, Model, PyTree
from jax231.models import zoo
from jax231.nn.bridge import Constructor, functionalize
from jax231.optim.paths import matching
from jax231.train.config import Config


class Network(NamedTuple):
    """A model of the zoo for one data set.

    `losses(outputs, targets)` are (n,), with the label smoothing of training in `smoothed`.
    """

    entry: zoo.Entry
    constructor: Constructor
    model: Model
    losses: Callable[[PyTree, PyTree], Float[Array, "n"]]
    smoothed: Callable[[PyTree, PyTree], Float[Array, "n"]]

    def inputs(self, batch: Batch, carry: PyTree) -> PyTree:
        """What the model is applied to: the batch's inputs, of a recurrent network with its carry."""
        return (carry, batch.inputs) if self.entry.form == "tokens" else batch.inputs

    def hits(self, outputs: PyTree, targets: Array) -> Float[Array, "n"]:
        """The share of each example's targets that have the highest score: 0 or 1 for an image of one class.

        A target that is a mixture counts as the class of its largest share.
        """
        scores = self.entry.scores(outputs)
        labels = jnp.argmax(targets, -1) if jnp.issubdtype(targets.dtype, jnp.floating) else targets
        right = jnp.argmax(scores, -1) == labels
        return right.reshape(len(right), -1).mean(-1)


def build(config: Config, shape: tuple[int, ...], classes: int) -> Network:
    """The network of a configuration for examples of this shape and so many classes.

    Raises: ValueError for arguments that the model does not have, for a model without a loss, for images too small
            for it, and for label smoothing or mixup of a loss other than the softmax's.
    """
    entry = zoo.entry(config.model)
    require(entry.loss != "", "train", "a model that learns by descent", model=entry.name)
    trained = entry.form in ("image", "tokens")
    require(trained, "train", "a model of images or of text", model=entry.name, form=entry.form)
    given = dict(config.arguments)
    if config.dropout is not None:
        given["dropout"] = config.dropout
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    architecture = _architecture(entry)
    options = inspect.signature(architecture).parameters
    open_ended = any(option.kind is option.VAR_KEYWORD for option in options.values())
    known = [name for name, option in options.items() if option.kind is option.KEYWORD_ONLY]
    unknown = [name for name in given if name not in known]
    require(open_ended or not unknown, f"models.{entry.name}", "arguments that it has", unknown=unknown, known=known)
    constructor = entry.constructor(shape, classes, **given)
    dtype = None if config.precision == "float32" else jnp.dtype(config.precision)
    plain_losses = entry.loss_function
    return Network(
        entry,
        constructor,
        functionalize(constructor, dtype=dtype, frozen=matching(*config.freeze)),
        plain_losses,
        _smoothed(config, entry, plain_losses),
    )


def _architecture(entry: zoo.Entry) -> Callable[..., Any]:
    return getattr(importlib.import_module(f"jax231.models.{entry.architecture}"), entry.architecture)


def _smoothed(config: Config, entry: zoo.Entry, losses: Callable[..., Any]) -> Callable[..., Any]:
    """The losses of training, where labels may be smoothed or mixed."""
    softmax = entry.loss == "softmax_cross_entropy"
    asked = config.smoothing > 0 or config.mixup > 0
    expected = "a loss of softmax_cross_entropy for label smoothing and mixup"
    require(softmax or not asked, "train", expected, model=entry.name, loss=entry.loss)
    if config.mixup > 0:
        return lambda outputs, targets: _mixed(entry.scores(outputs), targets, config.smoothing)
    if config.smoothing > 0:
        return lambda outputs, targets: losses(outputs, targets, smoothing=config.smoothing)
    return losses


def _mixed(scores: Float[Array, "n k"], targets: Float[Array, "n k"], smoothing: float) -> Float[Array, "n"]:
    """The cross entropy of targets that are shares of classes."""
    targets = (1 - smoothing) * targets + smoothing / scores.shape[-1]
    return -jnp.sum(targets * jax.nn.log_softmax(scores.astype(targets.dtype)), -1)
