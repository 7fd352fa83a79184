"""The loop of a training run: chunks of compiled steps, records, checkpoints, and the ways in which it ends."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from jax231.core.types import PyTree
from jax231.train import environment, evaluate, failure, processes, step
from jax231.train import folder as folders
from jax231.train import splits as data
from jax231.train.checkpoint import CheckpointError, Checkpoints
from jax231.train.config import Config
from jax231.train.evaluate import Scores
from jax231.train.interrupt import Interrupted, deferred
from jax231.train.log import Log, Unwritten, finite
from jax231.train.state import TrainState

CHUNK_SECONDS = 2.0
"""How long a chunk takes at most: as long may Ctrl-C wait."""

SAVE_SECONDS = 30.0
"""Between two checkpoints, unless the run ends."""


@runtime_checkable
class Watcher(Protocol):
    """Is told how a run goes."""

    def begin(self, config: Config, *, steps: int, done: int, epoch_steps: int, batch: int) -> None:
        """The run has so many steps in all, of which some are done already."""
        ...

    def chunk(self, record: dict[str, Any]) -> None:
        """A chunk of steps is done: what its line of ``metrics.jsonl`` says."""
        ...

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is done."""
        ...

    def note(self, text: str) -> None:
        """Something that the user should know."""
        ...


class Silent:
    """A watcher that says nothing."""

    def begin(self, config: Config, *, steps: int, done: int, epoch_steps: int, batch: int) -> None:
        """Nothing."""

    def chunk(self, record: dict[str, Any]) -> None:
        """Nothing."""

    def epoch(self, record: dict[str, Any]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Result(NamedTuple):
    """A run that came to its end: its last state, and how it does on the splits that there are."""

    train: TrainState
    validation: Scores | None
    test: Scores | None


def train(
    config: Config,
    folder: Path | str,
    *,
    resume: bool = False,
    data_dir: Path | None = None,
    splits: data.Splits | None = None,
    watcher: Watcher | None = None,
    devices: int = 1,
    deterministic: bool = False,
    save_seconds: float = SAVE_SECONDS,
    chunk: int | None = None,
) -> Result:
    """Train as `config` says into `folder`, or go on with the run in it (`resume`) where its last checkpoint is.

    A resumed run ends with the bits of an undisturbed one, on the same device and with the same versions; whether they
    are the same is checked and said. `splits` are data of the caller's own in the place of those that `config` names;
    `devices` more than 1 spreads each batch over so many, 0 over all there are. `chunk` are the steps between two looks
    at the clock (None: about two seconds' worth); the bits do not depend on it. Where several processes have joined
    (`processes.join`), all call this with the same arguments, a folder that all see and 0 or all for `devices`.

    Raises: FolderError for a folder that cannot be used; DivergedError for a loss that exploded or is not finite;
            Interrupted after Ctrl-C or SIGTERM, the run being saved; CheckpointError; LostError where another process
            of the run ended; ValueError and OSError for data and models as `splits.load` and `step.assemble` say.
    """
    folder, watcher = Path(folder), watcher if watcher and processes.is_first() else Silent()
    if resume:
        folders.require_same(folder, config)
    found = data.load(config, data_dir) if splits is None else splits
    task = step.assemble(config, found)
    with ExitStack() as stack:
        request = stack.enter_context(deferred(f"Interrupted. Go on with: {_again(folder)}"))
        with processes.together(_again(folder)), processes.first_alone() as first:
            if first:
                if not resume:
                    folders.prepare(folder, config)
                stack.enter_context(folders.locked(folder))
                if (folder / "data.json").exists():
                    data.require_classes(folders.read_facts(folder).classes, found.classes)
                folders.write_facts(folder, found, task.feed.steps, task.feed.batch)
        checkpoints = stack.enter_context(Checkpoints(folder / "checkpoints", watcher.note))
        with processes.together(_again(folder)):
            loop = _Loop(task, found, folder, watcher, checkpoints, devices, deterministic, save_seconds, chunk)
            return loop.run(request)


class _Loop:
    """A run on its way."""

    def __init__(
        self,
        task: step.Task,
        splits: data.Splits,
        folder: Path,
        watcher: Watcher,
        checkpoints: Checkpoints,
        devices: int,
        deterministic: bool,
        save_seconds: float,
        chunk: int | None,
    ):
        self.task, self.splits, self.folder, self.watcher = task, splits, folder, watcher
        self.checkpoints, self.save_seconds = checkpoints, save_seconds
        self.log = Log(folder / "metrics.jsonl", watcher.note) if processes.is_first() else Unwritten()
        layout = _layout(devices)
        self._spread, self._placed = layout.spread, layout.placed
        self.data: PyTree = self._spread(task.feed.data)
        self.advance = jax.jit(step.advance(task, layout.place), **layout.results)
        self.evaluated = jax.jit(lambda train: step.evaluated(task.config, train))
        self.expected = task.network.entry.expected_start(len(splits.classes))
        self.evaluate = evaluate.program(task.config, task.network, splits)
        self._weights: PyTree = None
        self.chunk = self._environment(devices, deterministic, chunk)

    # Where to begin

    def _start(self) -> TrainState:
        """The newest checkpoint, or the state before the first step."""
        config, steps, batch = self.task.config, self.task.feed.steps, self.task.feed.batch
        if self._weights is None and config.initial is not None and not self.checkpoints.kept():
            from jax231.train import transfer

            self._weights = transfer.initial(config, self.task.network, self.watcher.note)
        like = jax.eval_shape(lambda: step.begin(config, self.task.network, steps, batch))
        train = self.checkpoints.newest(self._placed(like))
        if train is not None:
            return self._spread(train)
        begin = jax.jit(lambda weights: step.begin(config, self.task.network, steps, batch, weights))
        return self._spread(begin(self._weights))

    def _environment(self, devices: int, deterministic: bool, chunk: int | None) -> int:
        """The steps a chunk: those of the run so far, or as many as fill `CHUNK_SECONDS`."""
        before = environment.read(self.folder)
        known = processes.of_the_first(chunk or (before or {}).get("chunk") or 0)
        chunk = known or processes.of_the_first(self._measured())
        now = environment.describe(chunk=chunk, devices=devices, deterministic=deterministic)
        if before is None:
            if processes.is_first():
                environment.write(self.folder, now)
        elif changed := environment.changes(before, now):
            self.watcher.note(f"The run goes on, but not bit for bit as it would have: {changed}.")
        return chunk

    def _measured(self) -> int:
        """Steps that take about `CHUNK_SECONDS`, by doing one for the second time."""
        train = self._start()
        first = int(train.step) % self.task.feed.steps
        seconds = 0.0
        for _ in range(2):
            begin = time.perf_counter()
            jax.block_until_ready(self.advance(train, self.data, np.int32(first + 1)))
            seconds = time.perf_counter() - begin
        return int(max(1, min(self.task.feed.steps, CHUNK_SECONDS / seconds)))

    # The run

    def run(self, request: Any) -> Result:
        """All steps that are left, and the scores at the end."""
        config, feed = self.task.config, self.task.feed
        total, train = config.epochs * feed.steps, self._start()
        done = int(train.step)
        self.log.cut(done)
        held_out = self._laid(self.splits.validation)
        self.watcher.begin(config, steps=total, done=done, epoch_steps=feed.steps, batch=feed.batch)
        saved, seconds, scores = time.monotonic(), 0.0, None
        while done < total:
            first = done % feed.steps
            last = min(first + self.chunk, feed.steps)
            begin = time.perf_counter()
            before, train = train, jax.block_until_ready(self.advance(train, self.data, np.int32(last)))
            took = time.perf_counter() - begin
            done, seconds = done + last - first, seconds + took
            self._require_sound(before, train, first, last)
            self._record_chunk(train, first, last, took)
            scores = None
            if last == feed.steps:
                params, state = self.evaluated(train)
                scores = None if held_out is None else self.evaluate(params, state, held_out)
                self._record_epoch(train, scores, seconds)
                seconds = 0.0
            asked, due = processes.of_any(request.asked, time.monotonic() - saved >= self.save_seconds)
            if asked or due:
                self.checkpoints.save(done, train, self._score(scores))
                saved = time.monotonic()
            if asked and done < total:
                self._leave(done)
        return self._end(train, scores)

    def _end(self, train: TrainState, scores: Scores | None) -> Result:
        self.checkpoints.save(int(train.step), train, self._score(scores))
        if not self._saved(int(train.step)):
            raise CheckpointError(
                f"{self.folder}: expected room for the last checkpoint; make some and go on by --resume {self.folder}"
            )
        params, state = self.evaluated(train)
        if scores is None and self.splits.validation is not None:
            scores = self.evaluate(params, state, self._laid(self.splits.validation))
        test = None
        if self.splits.test is not None:
            test = self.evaluate(params, state, self._laid(self.splits.test))
            self.log.append({"kind": "test", "step": int(train.step), **_numbers("test", test)})
        return Result(train, scores, test)

    def _leave(self, done: int) -> None:
        """End by a signal, saved if the disk allowed it."""
        again = _again(self.folder)
        if self._saved(done):
            raise Interrupted(f"Interrupted after step {done}, which is saved. Go on with: {again}")
        raise Interrupted(f"Interrupted. The last checkpoint that could be written is older. Go on with: {again}")

    def _saved(self, done: int) -> bool:
        return self.checkpoints.wait() and any(kept.step == done for kept in self.checkpoints.kept())

    def _require_sound(self, before: TrainState, train: TrainState, first: int, last: int) -> None:
        """Stop where the loss exploded or a number is not finite."""
        if failure.finite(train, first, last):
            reason = failure.explosion(train, last, self.expected)
        else:
            reason = failure.locate(self.task, self.advance, before, self.data, last)
        if reason is not None:
            self.log.append({"kind": "stopped", "step": int(before.step), "reason": reason})
            raise failure.DivergedError(f"{self.folder}: training stopped: {reason}")

    # Records

    def _laid(self, part: Any) -> Any:
        if part is None:
            return None
        laid = evaluate.laid_out(self.task.config, self.splits, part)
        return laid._replace(data=self._spread(laid.data))  # their number stays one of Python's

    def _score(self, scores: Scores | None) -> float | None:
        """What makes a checkpoint the best: overlap of areas, else the share of right answers; of a text minus loss."""
        if scores is None:
            return None
        if self.splits.stats is None:
            return -scores.loss
        return scores.accuracy if scores.mean_iou is None else scores.mean_iou

    def _record_chunk(self, train: TrainState, first: int, last: int, seconds: float) -> None:
        record = {
            "kind": "chunk",
            **self._means(train, first, last),
            "seconds": seconds,
            "examples_per_second": (last - first) * self._examples() / seconds,
        }
        self.log.append(record)
        self.watcher.chunk(record)

    def _record_epoch(self, train: TrainState, scores: Scores | None, seconds: float) -> None:
        record = {"kind": "epoch", **self._means(train, 0, self.task.feed.steps), "seconds": seconds}
        if scores is not None:
            record |= _numbers("validation", scores)
        self.log.append(record)
        self.watcher.epoch(record)

    def _means(self, train: TrainState, first: int, last: int) -> dict[str, Any]:
        losses, accuracies = (np.asarray(x, np.float64)[first:last] for x in (train.losses, train.accuracies))
        done = int(train.step)
        return {
            "step": done,
            "epoch": -(-done // self.task.feed.steps),
            "loss": finite(losses.mean()),
            "accuracy": finite(accuracies.mean()),
        }

    def _examples(self) -> int:
        """Images a step, or characters."""
        return self.task.feed.batch * (self.task.config.length if self.splits.stats is None else 1)


def _again(folder: Path) -> str:
    return f"jax231 train --resume {folder}"


class _Layout(NamedTuple):
    """How a batch is placed on devices, how everything else is spread over them, its types so placed, and results."""

    place: step.Place = lambda batch: batch
    spread: Callable[[PyTree], PyTree] = lambda values: values
    placed: Callable[[PyTree], PyTree] = lambda types: types
    results: dict[str, Any] = {}  # noqa: RUF012  nobody changes it


def _layout(devices: int) -> _Layout:
    if devices == 1 and not processes.several():
        return _Layout()
    from jax231.train import devices as several

    mesh = several.mesh(devices or None)
    return _Layout(
        partial(several.spread, mesh=mesh),
        partial(several.replicate, mesh=mesh),
        partial(several.replicated, mesh=mesh),
        {"out_shardings": several.whole(mesh)},
    )


def _numbers(split: str, scores: Scores) -> dict[str, Any]:
    """The scores as fields of a record, ``validation_loss`` and so on."""
    return {f"{split}_{name}": x for name, x in scores._asdict().items() if x is not None and name != "examples"}
