"""Images that stay in their files: decoded by threads while the step before computes, batch by batch.

What a batch holds is a function of the seed and the number of its step, whoever decodes it: a run that goes on after a
stop needs no more than that number, and the number of workers changes no bit. Grain has the threads and the queue.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int, UInt8

from jax231.core.checks import require
from jax231.core.types import Batch
from jax231.data import batches
from jax231.data.decode import Form, read_image
from jax231.data.errors import DataError, demand
from jax231.data.folders import Listing

AHEAD = 2
"""Batches that lie ready beside those that the workers are at."""


class Damage:
    """What becomes of damaged files: refused by an error, or skipped and remembered by name with what was found."""

    def __init__(self, skip: bool = False):
        self.skip = skip
        self.found: dict[str, str] = {}

    def meet(self, name: str, error: DataError) -> None:
        """A file that cannot be decoded.

        Raises: DataError where files are not skipped.
        """
        if not self.skip:
            hint = "--corrupt skip leaves damaged images out, jax231 data check lists them"
            raise DataError(error.path, error.expected, f"{error.found}; {hint}") from error
        self.found[name] = f"expected {error.expected}; found {error.found}"


class ImageFiles:
    """Images (n, h, w, c) as uint8 that are decoded when asked for: ``files[:9]`` is an array, ``len(files)`` is n."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self, listing: Listing, positions: Int[np.ndarray, "n"], form: Form, shape: tuple[int, ...], damage: Damage,
        workers: int,
    ):  # fmt: skip
        self.positions, self.form, self.damage, self.workers = positions, form, damage, workers
        self.shape = (len(positions), *shape)
        self._listing = listing

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(
        self, which: int | slice | Sequence[int] | Int[np.ndarray, "chosen"]
    ) -> UInt8[np.ndarray, "*chosen h w c"]:
        """One image, or those of a slice or at indices.

        Raises: DataError for a damaged file, also where they are skipped: nothing could stand in its place.
        """
        chosen = np.arange(len(self))[which]
        images, whole = self.read(np.atleast_1d(chosen))
        if not whole.all():
            name = self.name(int(np.atleast_1d(chosen)[~whole][0]))
            raise DataError(self.root / name, "an image", self.damage.found[name])
        return images.reshape(*np.shape(chosen), *self.shape[1:])

    @property
    def root(self) -> Path:
        """The folder of the files."""
        return self._listing.root

    def name(self, index: int) -> str:
        """The file of an image, within its folder."""
        return self._listing.names[self.positions[index]]

    def image(self, index: int, draws: Float64[np.ndarray, "4"] | None = None) -> UInt8[np.ndarray, "h w c"] | None:
        """One image, None where its file is damaged and such are skipped; `draws` choose a random part.

        Raises: DataError for a damaged file, and for an image of another size than the first.
        """
        name, expected = self.name(index), self.shape[1:]
        path = self.root / name
        try:
            image = read_image(path, self.form, draws)
        except DataError as error:
            self.damage.meet(name, error)
            return None
        demand(image.shape == expected, path, f"an image {expected[:2]} as the first, or a size", image.shape[:2])
        return image

    def standing(self, index: int, draws: Float64[np.ndarray, "4"] | None = None) -> tuple[np.ndarray, int]:
        """The image at `index` with its index, or in the place of a damaged one the next that is whole."""
        for place in range(index, index + len(self)):
            image = self.image(place % len(self), draws)
            if image is not None:
                return image, place % len(self)
        raise DataError(self.root, "an image that is not damaged", "none")

    def read(
        self, indices: Iterable[int] | Int[np.ndarray, "chosen"]
    ) -> tuple[UInt8[np.ndarray, "chosen h w c"], np.ndarray]:
        """Images at `indices`, decoded by the workers, and which of them are whole; the others are black."""
        indices = [int(index) for index in indices]
        images = np.zeros((len(indices), *self.shape[1:]), np.uint8)
        whole = np.zeros(len(indices), bool)

        def fill(place: int) -> None:
            image = self.image(indices[place])
            if image is not None:
                images[place], whole[place] = image, True

        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            list(pool.map(fill, range(len(indices))))
        return images, whole


def draws(seed: int, epoch: int, index: int) -> Float64[np.ndarray, "4"]:
    """Four numbers within [0, 1) for example `index` in an epoch: raw words of PCG64, whose stream NumPy keeps."""
    words = np.random.PCG64(np.random.SeedSequence([seed % 2**64, epoch, index])).random_raw(4)
    return (words >> np.uint64(11)) * 2.0**-53


@runtime_checkable
class Source(Protocol):
    """Batches by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class Training:
    """The batches of a run, ``training[step]``: those that data in memory would give, damaged files replaced."""

    def __init__(self, files: ImageFiles, labels: Int[np.ndarray, "n"], seed: int, batch: int, epochs: int):
        self.files, self.batch = files, batch
        self.steps = batches.epoch_steps(len(files), batch)
        self._labels, self._seed, self._epochs = labels, seed, epochs
        self._lock = threading.Lock()
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self._epochs * self.steps

    def __getitem__(self, index: int) -> Batch:
        """The raw batch of a step, counted from the start of the run."""
        epoch, i = divmod(index, self.steps)
        images = np.empty((self.batch, *self.files.shape[1:]), np.uint8)
        labels = np.empty(self.batch, self._labels.dtype)
        for place, index in enumerate(self._order(epoch)[i * self.batch : (i + 1) * self.batch].tolist()):
            drawn = draws(self._seed, epoch, index) if self.files.form.crop == "random" else None
            images[place], there = self.files.standing(index, drawn)
            labels[place] = self._labels[there]
        return Batch(images, labels)

    def _order(self, epoch: int) -> np.ndarray:
        """The order of an epoch, kept while workers are at it."""
        with self._lock:
            if epoch not in self._orders:
                self._orders = {at: order for at, order in self._orders.items() if at == epoch - 1}
                self._orders[epoch] = np.asarray(batches.order(self._seed, epoch, len(self.files)))
            return self._orders[epoch]


class Judging:
    """A split in its order, in batches of `size`: images, labels, and weights that are 0 for damaged images.

    The last batch reaches back into the one before, whose examples then weigh nothing.
    """

    def __init__(self, files: ImageFiles, labels: Int[np.ndarray, "n"], size: int):
        self.files, self._labels, self._size = files, labels, min(size, len(files))

    def __len__(self) -> int:
        return -(-len(self.files) // self._size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Batch number `index`."""
        first = min(index * self._size, len(self.files) - self._size)
        indices = np.arange(first, first + self._size)
        images = np.zeros((self._size, *self.files.shape[1:]), np.uint8)
        weight = (indices >= index * self._size).astype(np.float32)
        for place in np.flatnonzero(weight):
            image = self.files.image(int(indices[place]))
            if image is None:
                weight[place] = 0
            else:
                images[place] = image
        return images, self._labels[indices], weight


@runtime_checkable
class Batches(Iterator[Any], Protocol):
    """Batches one after the other, from Grain."""

    def close(self) -> None:
        """Stop the workers."""
        ...


def flow(source: Source, first: int, workers: int) -> Batches:
    """The batches of `source` from number `first`, decoded ahead by so many threads; 0: when they are asked for.

    Pillow lets go of Python's lock while it decodes, so threads decode side by side, and they need no second process
    beside JAX, which does not bear a fork.

    Raises: ValueError for a negative number of workers; ModuleNotFoundError without the train extra.
    """
    require(workers >= 0, "stream", "a number of workers of at least 0", workers=workers)
    try:
        import grain
    except ModuleNotFoundError as error:
        message = "jax231 train: expected the train extra to stream images; pip install '.[train]' in a clone of jax231"
        raise ModuleNotFoundError(f"{message} ({error})", name=error.name) from error
    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=workers + AHEAD if workers else 0)
    data: Any = grain.MapDataset.source(source)
    return iter(data[first:].to_iter_dataset(options))
