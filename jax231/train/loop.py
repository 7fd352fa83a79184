"""The loop of a training run: chunks of compiled steps, records, checkpoints, and the ways in which it ends."""

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.core.unoptimized import jit_unoptimized
from jax231.train import environment, evaluate, failure, members, processes, snapshots, step, streamed, transfer
from jax231.train import folder as folders
from jax231.train import splits as data
from jax231.train.checkpoint import CheckpointError, Checkpoints
from jax231.train.config import Config, StreamName
from jax231.train.evaluate import Scores, Together
from jax231.train.interrupt import Interrupted, deferred
from jax231.train.judge import Judge, numbers, whole
from jax231.train.layout import Layout, layout
from jax231.train.log import Log, Unwritten, finite
from jax231.train.processes import LostError
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
    """A run that came to its end: its last state, and how it does on the splits that there are.

    Several members or snapshots predict together: `together` has what each scores alone, by the names of the splits.
    `best` is the same of the best checkpoint, by which runs are evaluated; None where that is the last one.
    """

    train: TrainState
    validation: Scores | None
    test: Scores | None
    together: Mapping[str, Together] = MappingProxyType({})
    best: "Result | None" = None


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
    stream: StreamName = "auto",
    workers: int | None = None,
) -> Result:
    """Train as `config` says into `folder`, or go on with the run in it (`resume`) where its last checkpoint is.

    A resumed run ends with the bits of an undisturbed one, on the same device and with the same versions; whether they
    are the same is checked and said. `splits` are data of the caller's own in the place of those that `config` names;
    `devices` more than 1 spreads each batch over so many, 0 over all there are. `chunk` are the steps between two looks
    at the clock (None: about two seconds' worth); the bits do not depend on it. A folder of images is streamed as
    `stream` says, or as the run in it did, decoded by so many `workers`; the bits do not depend on their number. Where
    several processes have joined (`processes.join`), all call this with the same arguments, a folder that all see and 0
    or all for `devices`. The folder of a new run that fails before it left a record or a checkpoint is removed again.

    Raises: FolderError for a folder that cannot be used; DivergedError for a loss that exploded or is not finite;
            Interrupted after Ctrl-C or SIGTERM, the run being saved; CheckpointError; LostError where another process
            of the run ended; ValueError and OSError for data, models and networks to start from as `splits.load`,
            `step.assemble` and `transfer.initial` say.
    """
    folder, watcher = Path(folder), watcher if watcher and processes.is_first() else Silent()
    begun = None
    if resume:
        folders.require_same(folder, config)
        begun = folders.read_facts(folder) if (folder / "data.json").exists() else None
    if splits is None:
        stats = None if begun is None else folders.read_stats(folder)
        if begun is not None and begun.streamed is not None:
            stream = streamed.as_begun(begun.streamed, stream)
        splits = data.load(config, data_dir, stream=stream, workers=workers, stats=stats)
    found = splits
    task = step.assemble(config, found)
    one = config.members == 1 or (devices == 1 and not processes.several())
    require(one, "train", "one device for several members", devices=devices, members=config.members)
    held = config.members == 1 or not found.streamed
    require(held, "train", "images that fit into memory for several members (--stream never)", members=config.members)
    held = not (found.streamed and processes.several())
    require(held, "train", "images that fit into memory for several processes (--stream never)", data=config.data)
    placed = layout(devices)
    placed.require_fits(task.feed.batch)
    weights = None
    if config.initial is not None and not resume:  # what cannot be taken is said before there is a folder
        weights = transfer.initial(config, task.network, found.shape, found.classes, watcher.note)
    with ExitStack() as stack:
        request = stack.enter_context(deferred(f"Interrupted. Go on with: {_again(folder)}"))
        with processes.together(_again(folder)), processes.first_alone() as first:
            if first:
                made = not resume and folders.prepare(folder, config)
                stack.enter_context(folders.locked(folder))
                if not resume:
                    stack.enter_context(folders.unless_refused(folder, made, (LostError, CheckpointError)))
                if begun is not None:
                    data.require_classes(begun.classes, found.classes)
                    if begun.digests != found.digests:
                        changed = "the files of its data changed"
                        watcher.note(f"The run goes on, but not bit for bit as it would have: {changed}.")
                folders.write_facts(folder, found, task.feed.steps, task.feed.batch)
        checkpoints = stack.enter_context(Checkpoints(folder / "checkpoints", watcher.note))
        if found.reading is not None:
            watcher.note(found.reading.note)
        with processes.together(_again(folder)):
            loop = _Loop(
                task, found, folder, watcher, checkpoints, placed, devices, deterministic, save_seconds, chunk, weights
            )
            stack.callback(loop.supply.close)
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
        placed: Layout,
        devices: int,
        deterministic: bool,
        save_seconds: float,
        chunk: int | None,
        weights: PyTree,
    ):
        self.task, self.splits, self.folder, self.watcher = task, splits, folder, watcher
        self.checkpoints, self.save_seconds = checkpoints, save_seconds
        self.log = Log(folder / "metrics.jsonl", watcher.note) if processes.is_first() else Unwritten()
        self._spread, self._placed = placed.spread, placed.placed
        self.supply = streamed.supply(task.feed.data, placed.spread, placed.deal)
        self.advance = jax.jit(members.advance(task, placed.place), **placed.results)
        self._begin = jit_unoptimized(
            lambda weights: members.begin(task.config, task.network, task.feed.steps, task.feed.batch, weights)
        )
        self.snapped = jax.jit(lambda train: members.snapped(task.config, train))
        self.snapshots = snapshots.steps(task.config, task.feed.steps)
        self.expected = task.network.entry.expected_start(len(splits.classes))
        self.judge = Judge(task, splits)
        self._weights = weights
        self._best: tuple[int, TrainState, float] | None = None  # of the epochs that no checkpoint has
        self._highest = -math.inf
        self.chunk = self._environment(devices, deterministic, chunk)

    # Where to begin

    def _start(self) -> TrainState:
        """The newest checkpoint, or the state before the first step."""
        config = self.task.config
        if self._weights is None and config.initial is not None and not self.checkpoints.kept():
            data = self.splits.shape, self.splits.classes
            self._weights = transfer.initial(config, self.task.network, *data, self.watcher.note)
        train = self.checkpoints.newest(self._like())
        if train is not None:
            return self._spread(train)
        return self._spread(self._begin(self._weights))

    def _like(self) -> TrainState:
        """Shapes, types and places of the state."""
        return self._placed(self._begin.eval_shape(None))

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
            jax.block_until_ready(self.advance(train, self.supply.at(int(train.step)), np.int32(first + 1)))
            seconds = time.perf_counter() - begin
        return int(max(1, min(self.task.feed.steps, CHUNK_SECONDS / seconds)))

    # The run

    def run(self, request: Any) -> Result:
        """All steps that are left, and the scores at the end."""
        config, feed = self.task.config, self.task.feed
        total, train = config.epochs * feed.steps, self._start()
        done = int(train.step)
        self.log.cut(done)
        scored = [kept.score for kept in self.checkpoints.kept() if kept.score is not None]
        self._highest = max(scored, default=-math.inf)
        held_out = self._laid(self.splits.validation)
        self.watcher.begin(config, steps=total, done=done, epoch_steps=feed.steps, batch=feed.batch)
        saved, seconds, scores = time.monotonic(), 0.0, None
        while done < total:
            first = done % feed.steps
            last = min(first + self.chunk, feed.steps)
            last = min([last, *(at - done + first for at in self.snapshots if at > done)])
            begin = time.perf_counter()
            before, train = train, jax.block_until_ready(self.supply.through(self.advance, train, first, last))
            took = time.perf_counter() - begin
            done, seconds = done + last - first, seconds + took
            self._require_sound(before, train, first, last)
            self._record_chunk(train, first, last, took)
            if done in self.snapshots:
                train = self.snapped(train)
            scores = None
            if last == feed.steps:
                scores = None if held_out is None else self.judge.now(train, held_out)
                self._record_epoch(train, scores, seconds)
                seconds = 0.0
                self._remember(done, train, scores)
            asked, due = processes.of_any(request.asked, time.monotonic() - saved >= self.save_seconds)
            if asked or due:
                self._save(done, train, scores)
                saved = time.monotonic()
            if asked and done < total:
                self._leave(done)
        return self._end(train, scores)

    def _end(self, train: TrainState, scores: Scores | Together | None) -> Result:
        self._save(int(train.step), train, scores)
        if not self._saved(int(train.step)):
            raise CheckpointError(
                f"{self.folder}: expected room for the last checkpoint; make some and go on by --resume {self.folder}"
            )
        result = self._judged(train, None if self.snapshots else scores)
        if result.test is not None:
            test = result.together.get("test", result.test)
            self.log.append({"kind": "test", "step": int(train.step), **numbers("test", test)})
        if self.splits.reading is not None and (skipped := streamed.keep(self.splits.reading.damage, self.folder)):
            self.watcher.note(f"Damaged images that were skipped: {skipped}, in {self.folder / streamed.FILE}")
        best = self._best_kept(int(train.step))
        return result if best is None else result._replace(best=self._judged(best))

    def _judged(self, train: TrainState, validation: Scores | Together | None = None) -> Result:
        """The scores of a state on the splits that there are, that on `validation` where it is not known."""
        found: dict[str, Scores | Together] = {}
        for split, known in (("validation", validation), ("test", None)):
            part = getattr(self.splits, split)
            if part is not None:
                found[split] = known or self.judge.last(train, self._laid(part))
        several = {split: one for split, one in found.items() if isinstance(one, Together)}
        return Result(train, whole(found.get("validation")), whole(found.get("test")), several)

    def _best_kept(self, done: int) -> TrainState | None:
        """The best checkpoint, unless it is the one of the last step."""
        ranked = sorted((kept.score, kept.step) for kept in self.checkpoints.kept() if kept.score is not None)
        if not ranked or ranked[-1][1] == done:
            return None
        best = self.checkpoints.best(self._like())
        return None if best is None or int(best.step) == done else self._spread(best)

    def _remember(self, done: int, train: TrainState, scores: Scores | Together | None) -> None:
        """Keep the state after an epoch in memory where none was better: no checkpoint may be due for many epochs."""
        score = self._score(scores)
        if score is not None and score >= self._highest:
            self._best, self._highest = (done, train, score), score

    def _save(self, done: int, train: TrainState, scores: Scores | Together | None) -> None:
        """Write the state, and before it that of the best epoch since the last checkpoint."""
        if self._best is not None and self._best[0] < done:
            self.checkpoints.save(*self._best)
        self._best = None
        self.checkpoints.save(done, train, self._score(scores))

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
        if self.task.config.members > 1:
            reason = members.failed(self.task, before, train, self.supply.at, self.splits, (first, last))
        elif failure.finite(train, first, last):
            reason = failure.explosion(train, last, self.expected)
        else:
            reason = failure.locate(self.task, self.advance, before, self.supply.at, last)
        if reason is not None:
            self.log.append({"kind": "stopped", "step": int(before.step), "reason": reason})
            if self._best is not None:
                self.checkpoints.save(*self._best)
            raise failure.DivergedError(f"{self.folder}: training stopped: {reason}")

    # Records

    def _laid(self, part: Any) -> Any:
        if part is None:
            return None
        laid = evaluate.laid_out(self.task.config, self.splits, part)
        if self.splits.streamed:
            return laid
        return laid._replace(data=self._spread(laid.data))  # their number stays one of Python's

    def _score(self, found: Scores | Together | None) -> float | None:
        """What makes a checkpoint the best: its entry's measure, of a text minus the loss.

        None makes the newest the best, where snapshots are collected.
        """
        scores = whole(found)
        if scores is None or self.snapshots:
            return None
        measure = self.task.network.entry.measure
        value = getattr(scores, measure)
        return -value if measure == "loss" else value

    def _record_chunk(self, train: TrainState, first: int, last: int, seconds: float) -> None:
        record = {
            "kind": "chunk",
            **self._means(train, first, last),
            "seconds": seconds,
            "examples_per_second": (last - first) * self._examples() / seconds,
        }
        self.log.append(record)
        self.watcher.chunk(record)
        if self.splits.reading is not None:
            streamed.keep(self.splits.reading.damage, self.folder)

    def _record_epoch(self, train: TrainState, scores: Scores | Together | None, seconds: float) -> None:
        record = {"kind": "epoch", **self._means(train, 0, self.task.feed.steps), "seconds": seconds}
        if scores is not None:
            record |= numbers("validation", scores)
        self.log.append(record)
        self.watcher.epoch(record)

    def _means(self, train: TrainState, first: int, last: int) -> dict[str, Any]:
        losses, accuracies = (np.asarray(x, np.float64)[..., first:last] for x in (train.losses, train.accuracies))
        done = int(train.step)
        record = {
            "step": done,
            "epoch": -(-done // self.task.feed.steps),
            "loss": finite(losses.mean()),
            "accuracy": finite(accuracies.mean()),
        }
        if self.task.config.members > 1:
            record |= {f"{name}_members": [finite(x) for x in values.mean(-1)]
                       for name, values in (("loss", losses), ("accuracy", accuracies))}  # fmt: skip
        return record

    def _examples(self) -> int:
        """Images a step of all members, or characters."""
        each = self.task.config.length if self.splits.stats is None else 1
        return self.task.config.members * self.task.feed.batch * each


def _again(folder: Path) -> str:
    return f"jax231 train --resume {folder}"
