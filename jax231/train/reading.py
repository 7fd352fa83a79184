"""The splits of a folder of images: read into memory where they fit, else left in their files and streamed."""

import numpy as np

from jax231.core.checks import require
from jax231.core.types import Batch
from jax231.data import preprocess
from jax231.data.decode import Form, read_size
from jax231.data.errors import DataError
from jax231.data.folders import Listing, list_folder
from jax231.data.splits import hold_out
from jax231.data.stream import Damage, ImageFiles
from jax231.measure import machine
from jax231.train.config import Config, StreamName
from jax231.train.splits import Reading, Splits

MOST = 2 * 2**30
"""Bytes of decoded images that go into memory, and so onto the device, at most."""

SAMPLE = 2048
"""Training images whose statistics preprocess a stream."""

VALIDATION, SEED = 0.1, 0
"""The share of the training split that validates where the folder has no split for it, and the seed that chooses it."""

CHANNELS = 3


def limit() -> int:
    """Bytes of decoded images that are read into memory: `MOST`, or a quarter of the memory where that is less."""
    return min(MOST, machine.memory() // 4)


def load(
    config: Config, stream: StreamName = "auto", workers: int | None = None, stats: preprocess.Stats | None = None
) -> Splits:
    """The splits of the folder that `config` names.

    ``"auto"`` streams what is more than `limit`, or cut anew in every epoch. `workers` are the threads that decode
    (None: one a processor). `stats` are those of preprocessing, where they are known; else they are fit on the training
    split, of a stream on its first `SAMPLE` images in shuffled order.

    Raises: MissingDataError and DataError as `list_folder`; DataError for damaged files; ValueError where `config` does
            not fit the folder.
    """
    workers = machine.cores() if workers is None else workers
    require(workers >= 0, "train", "a number of workers of at least 0", workers=workers)
    listing, damage = list_folder(config.data), Damage(config.corrupt == "skip")
    form = Form(None if config.size is None else (config.size, config.size), CHANNELS, config.crop)
    shape = _shape(listing, form, damage)
    train, validation = _parts(listing, config)
    count = sum(len(part) for part in (train, validation, listing.test) if part is not None)
    streamed, note = _choice(config, stream, count, count * int(np.prod(shape)), workers)

    def part(positions: np.ndarray | None) -> Batch | None:
        if positions is None or not len(positions):
            return None
        return Batch(ImageFiles(listing, positions, form, shape, damage, workers), listing.labels[positions])

    batch, held, test = part(train), part(validation), part(listing.test)
    assert batch is not None
    if streamed:
        if stats is None:
            images, whole = batch.inputs.read(range(min(SAMPLE, len(train))))
            require(bool(whole.any()), "train", "a training image that is not damaged", damaged=len(whole))
            stats = preprocess.fit(config.preprocess, images[whole])
            note += f"; preprocessing fits {int(whole.sum()):,} of the {len(train):,} training images"
        digest = listing.digest()
    else:
        (batch, whole), held, test = _replaced(batch), _without(held), _without(test)
        stats = preprocess.fit(config.preprocess, batch.inputs[whole]) if stats is None else stats
        digest = listing.content_digest()
    reading = Reading(streamed, workers, note, damage)
    name = listing.root.name
    return Splits(name, batch, held, test, shape, listing.classes, stats, {name: digest}, reading)


def _shape(listing: Listing, form: Form, damage: Damage) -> tuple[int, ...]:
    """The shape of every image: what they are resized to, or that of the first whole file."""
    if form.size is not None:
        return (*form.size, form.channels)
    for name in listing.names:
        try:
            return (*read_size(listing.root / name), form.channels)
        except DataError as error:
            damage.meet(name, error)
    raise DataError(listing.root, "an image that is not damaged", "none")


def _parts(listing: Listing, config: Config) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions of the training split, shuffled, and of the validation split."""
    train, own = listing.train, listing.validation
    fits = own is None or not config.validation
    expected = f"no number of validation examples for {listing.root}, which has its own split val"
    require(fits, "train", expected, validation=config.validation)
    share = round(VALIDATION * len(train)) if config.validation is None else config.validation
    rest, held = hold_out(listing.labels[train], share if own is None else 0, SEED)
    if own is None:
        own = train[held]
    elif config.validation == 0:
        own = None
    require(len(rest) > 0, "train", "at least one training example", validation=config.validation)
    fits = config.examples is None or config.examples <= len(rest)
    require(fits, "train", f"at most the {len(rest)} training examples", examples=config.examples)
    return train[rest][: config.examples], own


def _choice(config: Config, stream: StreamName, count: int, size: int, workers: int) -> tuple[bool, str]:
    """Whether to stream, and that in words."""
    anew, large = config.crop == "random", size > limit()
    expected = "the stream auto or always where random parts are cut from the files anew in every epoch"
    require(not (anew and stream == "never"), "train", expected, crop=config.crop, stream=stream)
    streamed = stream == "always" or (stream == "auto" and (anew or large))
    decoded = f"{config.data}: {count:,} images, {_bytes(size)} decoded"
    if not streamed:
        return False, f"{decoded}, are read into memory (limit {_bytes(limit())})"
    reason = {"always": "as asked"}.get(stream) or ("cut anew in every epoch" if anew else f"limit {_bytes(limit())}")
    return True, f"{decoded}, are streamed by {workers} workers ({reason})"


def _bytes(size: int) -> str:
    return f"{size / 2**30:.3g} GB" if size >= 2**30 else f"{size / 2**20:.3g} MB"


def _replaced(part: Batch) -> tuple[Batch, np.ndarray]:
    """A training split in memory, as a stream gives it: in the place of a damaged image the next whole one.

    Also which are not replaced.
    """
    images, whole = part.inputs.read(range(len(part.inputs)))
    labels = part.targets.copy()
    for index in np.flatnonzero(~whole).tolist():
        images[index], there = part.inputs.standing(index)
        labels[index] = part.targets[there]
    return Batch(images, labels), whole


def _without(part: Batch | None) -> Batch | None:
    """Another split in memory, without damaged images."""
    if part is None:
        return None
    images, whole = part.inputs.read(range(len(part.inputs)))
    return Batch(images[whole], part.targets[whole]) if whole.any() else None
