"""How the batches of an epoch are taken from data on the device, inside the compiled program."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.types import Batch, Key, PyTree, Scalar
from jax231.data import batches, preprocess, text_batches
from jax231.data.stream import Training
from jax231.train.config import Config
from jax231.train.splits import Splits


class Feed(NamedTuple):
    """An epoch as `steps` batches.

    `data` is what the program is given, on the device; of a stream the source of it, whose entries are single batches.
    ``plan(data, epoch, seed)`` is made once a chunk, and ``take(data, plan, i)`` is the raw batch of step i of the
    epoch: pure functions of their arguments, so that a resumed run sees what the first one would have. ``dress(key,
    batch)`` makes of a raw batch what the model reads.
    """

    steps: int
    batch: int
    data: PyTree
    plan: Callable[[PyTree, Array, Scalar], PyTree]
    take: Callable[[PyTree, PyTree, Array], Batch]
    dress: Callable[[Key, Batch], Batch]


def of(config: Config, splits: Splits) -> Feed:
    """The feed of the training split: images in an order that depends on seed and epoch, or windows of a text.

    Raises: ValueError for a batch larger than the split, and for augmentations that do not exist.
    """
    return _windows(config, splits) if splits.stats is None else _images(config, splits)


def preprocessed(stats: preprocess.Stats | None) -> Callable[[Array], Array]:
    """``f(images)``, what `preprocess.apply` computes, in float32 on the device; without statistics they stay."""
    if stats is None:
        return lambda codes: codes
    mean, scale, basis = (jnp.asarray(x, jnp.float32) for x in stats[1:])

    def apply(images: Array) -> Float[Array, "n ..."]:
        x = (images.astype(jnp.float32) - mean) / scale
        return x.reshape(len(x), -1) @ basis if basis.size else x

    return apply


def _images(config: Config, splits: Splits) -> Feed:
    count = len(splits.train.targets)
    batch = config.batch or count
    require(batch <= count, "train", f"a batch of at most the {count} training examples", batch=batch)
    change = mix = None
    if config.augment or config.mixup > 0:
        from jax231.data import augment

        masks = splits.train.targets.ndim > 1
        change = (augment.masked_pipeline if masks else augment.labelled_pipeline)(config.augment)
        mix = augment.mixup
    plain = preprocessed(splits.stats)
    classes = len(splits.classes)

    def plan(data: PyTree, epoch: Array, seed: Scalar) -> Array:
        return batches.order(seed, epoch, count)

    def take(data: PyTree, order: Array, i: Array) -> Batch:
        chosen = jax.lax.dynamic_slice_in_dim(order, i * batch, batch)
        return Batch(data.inputs[chosen], data.targets[chosen])

    def dress(key: Key, raw: Batch) -> Batch:
        key_augment, key_mix = jax.random.split(key)
        images, targets = raw.inputs, raw.targets
        if change is not None:
            images, targets = change(key_augment, images, targets)
        images = plain(images)
        if mix is None or config.mixup == 0:
            return Batch(images, targets)
        return Batch(*mix(key_mix, images, jax.nn.one_hot(targets, classes), config.mixup))

    if splits.streamed:
        source = Training(splits.train.inputs, splits.train.targets, config.seed, batch, config.epochs)
        return Feed(source.steps, batch, source, lambda data, epoch, seed: (), lambda data, plan, i: data, dress)
    data = Batch(*map(jnp.asarray, splits.train[:2]))
    return Feed(batches.epoch_steps(count, batch), batch, data, plan, take, dress)


def _windows(config: Config, splits: Splits) -> Feed:
    codes = np.asarray(splits.train.inputs)
    batch = config.batch or 1
    fits = batch * config.length < len(codes)
    expected = f"a batch of windows that fit into the text of {len(codes)} characters"
    require(fits, "train", expected, batch=batch, length=config.length)
    inputs, targets = text_batches.windows(codes, batch, config.length)
    data = Batch(jnp.asarray(inputs), jnp.asarray(targets))

    def take(data: PyTree, plan: PyTree, i: Array) -> Batch:
        return Batch(data.inputs[i], data.targets[i])

    return Feed(len(inputs), batch, data, lambda data, epoch, seed: (), take, lambda key, raw: raw)
