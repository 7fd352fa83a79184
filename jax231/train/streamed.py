"""How the loop gets its batches: all data lie on the device, or the next batch is put there while a step computes."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np

from jax231.core.checks import require
from jax231.core.files import write_whole
from jax231.core.types import PyTree
from jax231.data import stream
from jax231.data.errors import DataError
from jax231.data.stream import Batches, Damage, Judging, Training
from jax231.train.config import StreamName
from jax231.train.state import TrainState

Advance = Callable[[TrainState, PyTree, Any], TrainState]
Put = Callable[[PyTree], PyTree]
Sums = TypeVar("Sums")

FILE = "corrupt.txt"
"""Of a run folder: the damaged images that were skipped."""


@runtime_checkable
class Supply(Protocol):
    """What `step.advance` is given."""

    def through(self, advance: Advance, train: TrainState, first: int, last: int) -> TrainState:
        """The state after the steps of its epoch from `first` up to `last`."""
        ...

    def at(self, step: int) -> PyTree:
        """What a call of `advance` is given that begins at a step of the run, and does that step only."""
        ...

    def close(self) -> None:
        """Stop what decodes."""
        ...


class Held:
    """Data on the device: a chunk of steps is one call."""

    def __init__(self, data: PyTree):
        self._data = data

    def through(self, advance: Advance, train: TrainState, first: int, last: int) -> TrainState:
        """The state after the steps of its epoch from `first` up to `last`."""
        return advance(train, self._data, np.int32(last))

    def at(self, step: int) -> PyTree:
        """The data."""
        return self._data

    def close(self) -> None:
        """Nothing."""


class Streamed:
    """Batches from files: a step is a call, in which the next batch is fetched and put on the device.

    Two steps at most are on their way at a time, so that no more batches than these take room on the device.
    """

    def __init__(self, source: Training, put: Put, workers: int):
        self._source, self._put, self._workers = source, put, workers
        self._flow: Batches | None = None
        self._place = -1
        self._next: PyTree = None

    def through(self, advance: Advance, train: TrainState, first: int, last: int) -> TrainState:
        """The state after the steps of its epoch from `first` up to `last`."""
        step = int(train.step)
        if step != self._place:
            self.close()
            self._flow, self._place = stream.flow(self._source, step, self._workers), step
            self._fetch()
        for i in range(first, last):
            before, train = train, advance(train, self._next, np.int32(i + 1))
            self._place += 1
            self._fetch()
            jax.block_until_ready(before.step)
        return train

    def _fetch(self) -> None:
        """Put the batch of the step at `_place` on the device, if the run has it."""
        batch = None if self._flow is None else next(self._flow, None)
        self._next = None if batch is None else self._put(batch)

    def at(self, step: int) -> PyTree:
        """The batch of a step of the run."""
        return self._put(self._source[step])

    def close(self) -> None:
        """Stop the workers."""
        if self._flow is not None:
            self._flow.close()
            self._flow, self._place = None, -1


def supply(data: PyTree, spread: Put, deal: Put) -> Supply:
    """What gives the loop the data of a feed; `spread` lays them out on the devices, and `deal` a batch of a stream."""
    return Streamed(data, deal, data.files.workers) if isinstance(data, Training) else Held(spread(data))


def judged(judge: Callable[..., Sums], source: Judging) -> tuple[Sums, int]:
    """What ``judge(images, labels, weight)`` says of each batch, stacked, and how many images have a weight.

    Raises: DataError where none has.
    """
    done: list[Sums] = []
    count = 0
    with closing(stream.flow(source, 0, source.files.workers)) as batches:
        for batch in batches:
            done.append(judge(*batch))
            count += int(batch[2].sum())
            if len(done) > 1:
                jax.block_until_ready(done[-2])
    if count == 0:
        raise DataError(source.files.root, "an image that is not damaged", "none")
    return jax.tree.map(lambda *x: np.stack([np.asarray(one) for one in x]), *done), count


def keep(damage: Damage, folder: Path) -> int:
    """Write the damaged files that were skipped into `folder`, with those that it has already; how many there are."""
    path = folder / FILE
    before = path.read_text().splitlines() if path.exists() else []
    found = list(damage.found.items())  # at once: the workers may add to it
    lines = sorted({*before, *(f"{name}: {' '.join(what.split())}" for name, what in found)})
    if lines != before:
        write_whole(path, "".join(line + "\n" for line in lines))
    return len(lines)


def as_begun(was: bool, asked: StreamName) -> StreamName:
    """How a run that goes on reads its images: streamed if it `was`.

    Raises: ValueError where it is asked to read them in the other way, which would not give the same bits.
    """
    begun: StreamName = "always" if was else "never"
    require(asked in ("auto", begun), "train", f"the stream {begun} of the run, or auto", stream=asked)
    return begun
