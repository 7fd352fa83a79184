"""The course's search for hyperparameters: in stages, from coarse to fine, over random settings or a grid."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from jax231.core.checks import require
from jax231.core.files import append_record, read_records, write_whole
from jax231.search.halving import Rung, rungs, survivors
from jax231.search.refine import best_of, edges, refine_all
from jax231.search.space import Space
from jax231.train import streamed
from jax231.train.search import Search, Setting, ask
from jax231.train.trials import Result, Trials


class Record(NamedTuple):
    """A line of ``settings.jsonl``: what a setting of a stage came to after a rung of so many epochs."""

    stage: int
    rung: int
    index: int
    setting: Setting
    epochs: int
    result: Result


class Stage(NamedTuple):
    """A stage that is done: what it searched, the last record of each setting, and the best of them.

    `best` is among those that ran longest and did not explode, None where all did. `warnings` are of numbers of the
    best on an edge of their range.
    """

    space: Space
    choices: Mapping[str, tuple[int, ...]]
    records: list[Record]
    best: Record | None
    warnings: list[str]


Watcher = Callable[[str, float], None]
"""``watcher(text, share)`` hears what is running, and the share of it that is done."""


def tune(
    search: Search, folder: Path, *, data_dir: Path | None = None, watcher: Watcher = lambda text, share: None
) -> list[Stage]:
    """All stages, each around the best of the one before; settings that are on disk in `folder` are not run again.

    Damaged images that were skipped are listed in `folder`.

    Raises:  ValueError as `splits.load` and `network.build`, and for a folder with another search in it.
    Source:  CS231n lecture 6, hyperparameter optimization.
    """
    trials = Trials(search, data_dir)
    _prepare(folder, search)
    if trials.damage is not None:
        streamed.keep(trials.damage, folder)
    space, choices, done = search.space(), search.choices(), []
    for number, (count, epochs) in enumerate(zip(search.settings, search.epochs, strict=True)):
        asked = dict(enumerate(ask(search.method, space, choices, count, search.config.seed + number)))
        last = _stage(trials, search, folder, number, asked, epochs, watcher)
        longest = max(record.epochs for record in last)
        place = best_of([score(record) if record.epochs == longest else math.nan for record in last])
        best = None if place is None else last[place]
        done.append(Stage(space, choices, last, best, [] if best is None else edges(space, best.setting)))
        if best is None:
            break
        space = refine_all(space, best.setting, search.shrink)
        choices = {name: (int(best.setting[name]),) for name in choices}
    return done


def score(record: Record) -> float:
    """The accuracy by which settings are ranked, NaN for one that exploded."""
    return math.nan if record.result.broken else record.result.accuracy


def read(folder: Path) -> list[Record]:
    """The records of a search in the order in which they were written."""
    rows: Iterator[dict[str, Any]] = read_records(folder / "settings.jsonl")
    return [Record(**(row | {"result": Result(**row["result"])})) for row in rows]


def _prepare(folder: Path, search: Search) -> None:
    asked = msgspec.json.format(msgspec.json.encode(asdict(search))).decode()
    path = folder / "search.json"
    if path.exists():
        same = path.read_text() == asked
        require(same, "tune", "the search that the folder holds, or another --name", folder=str(folder))
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, asked)


def _stage(trials: Trials, search: Search, folder: Path, number: int, asked: Mapping[int, Setting], epochs: int,
           watcher: Watcher) -> list[Record]:  # fmt: skip
    """The last record of each setting: of one that was left behind that of its last rung."""
    plan = (Rung(len(asked), epochs),) if search.halving is None else rungs(len(asked), epochs, search.halving)
    left, last = list(asked), dict[int, Record]()
    trials.forget()
    for level, rung in enumerate(plan):
        if level:
            left = [left[place] for place in survivors([score(last[i]) for i in left], rung.settings)]
        known = {record.index: record for record in read(folder) if (record.stage, record.rung) == (number, level)}
        last |= {index: known[index] for index in left if index in known}
        todo = [index for index in left if index not in known]
        name = f"stage {number + 1}" + (f", rung {level + 1}" if len(plan) > 1 else "")

        hear = partial(_tell, watcher, name, last, level, rung.settings)
        hear(0.0)
        for found in trials.run(todo, {index: asked[index] for index in left}, rung.epochs, hear):
            for index, result in found.items():
                last[index] = Record(number, level, index, asked[index], rung.epochs, result)
                line = last[index]._asdict() | {"result": result._asdict()}
                append_record(folder / "settings.jsonl", msgspec.json.encode(line))
        hear(1.0)
    return [last[index] for index in sorted(last)]


def _tell(watcher: Watcher, name: str, last: Mapping[int, Record], level: int, count: int, share: float) -> None:
    here = [score(record) for record in last.values() if record.rung == level]
    best = max((x for x in here if math.isfinite(x)), default=None)
    said = f"{name}: {len(here)} of {count} settings"
    watcher(said if best is None else f"{said}, best {best:.1%}", share)
