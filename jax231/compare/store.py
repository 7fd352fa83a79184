"""The run folder of a comparison: what is in it, who may write to it, and what is already done.

| file | content |
|---|---|
| `config.toml` | the configuration; a second call must have the same |
| `study.json` | machine, versions, problems, optimizers, exchange rates |
| `preprocess.npz` | statistics of the training split that the images were preprocessed with |
| `sweep.jsonl` | one record a lane of the search for settings |
| `runs.jsonl` | one record a final run, with its curves |
| `report.html` | made from the others by `jax231 report` |
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from jax231.compare.config import Config
from jax231.core.files import append_record, read_records, write_whole
from jax231.measure.summary import Lane, Run

FORMAT = 1
Record = TypeVar("Record", Lane, Run)


class FolderError(ValueError):
    """The run folder cannot be used as asked; the message says why and what to do."""


def open_folder(folder: Path, config: Config) -> None:
    """Make `folder` for `config`, or check that it already belongs to the same configuration.

    Raises: FolderError where the folder holds another configuration, holds something else, or cannot be written.
    """
    stored = folder / "config.toml"
    if stored.exists():
        existing = read_config(folder)
        if existing != config:
            raise FolderError(
                f"{folder}: expected the configuration of the existing run; got {_difference(existing, config)}. "
                "Give another --name, or remove the folder."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise FolderError(f"{folder}: expected a new or empty folder, or one with a config.toml; got other files")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not stored.exists():
            import tomli_w

            write_whole(stored, tomli_w.dumps({"compare": _plain(config)}))
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "Permission denied", str(folder))
    except OSError as error:
        raise FolderError(f"{folder}: expected a folder that can be written; got {error.strerror}") from error


def read_config(folder: Path) -> Config:
    """The configuration of a run folder.

    Raises: FolderError naming the file and the field where it is not a configuration.
    """
    path = folder / "config.toml"
    try:
        content = msgspec.toml.decode(path.read_bytes())
        return msgspec.convert(content["compare"], Config)
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise FolderError(f"{path}: expected the configuration of a comparison; got {error}") from error


def _plain(config: Config) -> dict[str, Any]:
    """Without the fields that are None: TOML has no null."""
    return {name: value for name, value in asdict(config).items() if value is not None}


def _difference(a: Config, b: Config) -> str:
    before, after = asdict(a), asdict(b)
    changed = [f"{name} {before[name]} -> {after[name]}" for name in before if before[name] != after[name]]
    return "; ".join(changed)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` against a second writer; the lock ends with the process, however that ends.

    Raises: FolderError naming the other process.
    """
    path = folder / "writer.pid"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise FolderError(
                f"{folder}: expected no other writer; got process {file.read()}, still at work"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _records(path: Path, kind: type[Record]) -> Iterator[Record]:
    for number, record in enumerate(read_records(path), 1):
        try:
            yield msgspec.convert(record, kind)
        except msgspec.ValidationError as error:
            raise FolderError(f"{path}, line {number}: expected a {kind.__name__}; got {error}") from error


class Store:
    """Reads and writes the records of one run folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def study(self) -> dict[str, Any] | None:
        """What `study.json` holds, or None before it is written."""
        path = self.folder / "study.json"
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(path.read_bytes())
        except msgspec.DecodeError as error:
            raise FolderError(
                f"{path}: expected JSON; got a damaged file ({error}); remove it to measure again"
            ) from error

    def write_study(self, study: dict[str, Any]) -> None:
        """Write `study.json` whole."""
        write_whole(self.folder / "study.json", msgspec.json.format(msgspec.json.encode(study)) + b"\n")

    def lanes(self) -> dict[tuple[str, str, float, int], Lane]:
        """Finished lanes by problem, optimizer, setting and seed."""
        found = _records(self.folder / "sweep.jsonl", Lane)
        return {(lane.problem, lane.optimizer, lane.setting, lane.seed): lane for lane in found}

    def runs(self) -> dict[tuple[str, str, int], Run]:
        """Finished final runs by problem, optimizer and seed."""
        found = _records(self.folder / "runs.jsonl", Run)
        return {(run.problem, run.optimizer, run.seed): run for run in found}

    def add_lane(self, lane: Lane) -> None:
        """Append a lane; NaN is stored as null."""
        append_record(self.folder / "sweep.jsonl", msgspec.json.encode(lane))

    def add_run(self, run: Run) -> None:
        """Append a final run; NaN is stored as null."""
        append_record(self.folder / "runs.jsonl", msgspec.json.encode(run))
