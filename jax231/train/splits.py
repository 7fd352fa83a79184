"""The data of a configuration on the host: training, validation and test split, with what is known of them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax231.core.checks import require
from jax231.core.types import Batch
from jax231.data import preprocess, sources
from jax231.data.dataset import Dataset
from jax231.data.stream import Damage
from jax231.data.text import Text, text_file
from jax231.models import zoo
from jax231.train.config import Config, StreamName


class Reading(NamedTuple):
    """How the images of a folder are read: streamed or into memory, by so many workers; `note` says it to the user."""

    streamed: bool
    workers: int
    note: str
    damage: Damage


class Splits(NamedTuple):
    """NumPy arrays: images as uint8 (n, h, w, c) with labels (n,) or (n, h, w), or the codes (t,) of a text as inputs.

    `shape` is that of one example; of a text (length,). `validation` and `test` may be None. `stats` are the statistics
    of preprocessing, None for a text. Images of a folder that are streamed are `ImageFiles`; `reading` is None for all
    that is no folder of images.
    """

    name: str
    train: Batch
    validation: Batch | None
    test: Batch | None
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    stats: preprocess.Stats | None
    digests: dict[str, str]
    reading: Reading | None = None

    @property
    def streamed(self) -> bool:
        """Whether the images stay in their files."""
        return self.reading is not None and self.reading.streamed


def load(
    config: Config,
    data_dir: Path | None = None,
    *,
    stream: StreamName = "never",
    workers: int | None = None,
    stats: preprocess.Stats | None = None,
) -> Splits:
    """Read the data set, split it by the seed 0, and fit the preprocessing on the training split.

    A folder of images may be streamed: `stream`, `workers` and `stats` are those of `reading.load`.

    Raises: ValueError for a name that is not known, with the nearest, for images where the model reads text or the
            other way round; MissingDataError for files that are not there, with the way to get them; DataError.
    """
    text = zoo.entry(config.model).form == "tokens"
    _require_kind(config, text=text)
    if not text and _is_path(config.data):
        pixels = zoo.entry(config.model).of_pixels
        require(not pixels, "train", "data with masks for a model of pixels", model=config.model, data=config.data)
        from jax231.train import reading

        return reading.load(config, stream, workers, stats)
    require(stream != "always", "train", "a folder of images to stream", data=config.data)
    require(config.crop == "none", "train", "a folder of images to cut from", data=config.data, crop=config.crop)
    if text:
        return of_text(config, _text(config.data, data_dir))
    found = sources.load(config.data, data_dir)
    pixels, masks = zoo.entry(config.model).of_pixels, found.train.labels.ndim > 1
    expected = "data with masks for a model of pixels" if pixels else "a model of pixels for data with masks"
    require(pixels == masks, "train", expected, model=config.model, data=config.data)
    return of_images(config, found)


def of_images(config: Config, dataset: Dataset) -> Splits:
    """The splits of images with labels."""
    train, validation, test = dataset.split(config.validation)
    require(len(train.labels) > 0, "train", "at least one training example", validation=config.validation)
    if config.examples is not None:
        fits = config.examples <= len(train.labels)
        require(fits, "train", f"at most the {len(train.labels)} training examples", examples=config.examples)
        train = train.take(np.arange(config.examples))
    stats = preprocess.fit(config.preprocess, train.images)
    return Splits(
        dataset.name, Batch(*train), _unless_empty(validation), _unless_empty(test), dataset.shape, dataset.classes,
        stats, dataset.digests,
    )  # fmt: skip


def of_text(config: Config, text: Text) -> Splits:
    """The splits of a text: its first part and the rest; there is no third."""
    codes = text.train if config.examples is None else text.train[: config.examples]
    shape, classes = (config.length,), tuple(text.vocabulary)
    return Splits(text.name, Batch(codes, None), Batch(text.validation, None), None, shape, classes, None, text.digests)


def _unless_empty(examples) -> Batch | None:
    return Batch(*examples) if len(examples.labels) else None


def _text(data: str, data_dir: Path | None) -> Text:
    if _is_path(data):
        return text_file(data)
    return sources.load_text(data, data_dir)


def _require_kind(config: Config, *, text: bool) -> None:
    """Data that are a text where the model reads one, else images; what is not there is left to who reads it."""
    path, known = Path(config.data), sources.CATALOG.get(config.data)
    if _is_path(config.data):
        if not path.exists():
            return
        is_text, seen = path.is_file(), "a file" if path.is_file() else "a folder"
    elif config.data in sources.NAMES:
        is_text = known is not None and known.kind == "text"
        seen = "a text" if is_text else "images"
    else:
        return
    if text and not is_text:
        expected = "a text, as --data tiny_shakespeare or --data FILE, or a model of images, as --model convnet"
    else:
        expected = "images, as --data digits or --data FOLDER, or a model of text, as --model char_lstm"
    if text != is_text:
        raise ValueError(f"train: expected {expected}; got model={config.model!r}, data={config.data!r}, {seen}")


def _is_path(data: str) -> bool:
    return data not in sources.NAMES and ("/" in data or Path(data).exists())


def require_classes(expected: tuple[str, ...], found: tuple[str, ...]) -> None:
    """The classes of the data are those that the run was trained on, in their order.

    Raises: ValueError naming what is missing and what is new.
    """
    missing, new = [x for x in expected if x not in found], [x for x in found if x not in expected]
    require(
        expected == found, "run", f"the {len(expected)} classes of the run in their order", missing=missing, new=new
    )
