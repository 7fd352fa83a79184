"""The folder of a training run: what is in it, and who may write to it.

| file | content |
|---|---|
| `config.toml` | the configuration |
| `data.json` | name, shape of an example, classes, digests of the files |
| `environment.json` | versions, device, steps a chunk, devices |
| `preprocess.npz` | statistics of the training split that images are preprocessed with |
| `corrupt.txt` | damaged images that were skipped, where there are some |
| `metrics.jsonl` | one record a chunk of steps and one an epoch |
| `checkpoints/` | the newest states and the best one, a folder each, named by their steps |
| `report.html` | the page of `jax231 report`, where it was made |
| `lock` | held while a process writes |
"""

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from jax231.core.files import write_whole
from jax231.data import preprocess
from jax231.train.config import Config, difference, from_toml, to_toml
from jax231.train.splits import Splits

WRITTEN = ("config.toml", "data.json", "environment.json", "preprocess.npz", "corrupt.txt", "metrics.jsonl")
"""The files of a run that are there before its first step, or might be."""


class FolderError(ValueError):
    """The folder of a run cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Facts:
    """What a reader of the run must know of its data without loading them; `steps` are those of an epoch.

    `streamed` says how the images of a folder were read, and is None for all other data.
    """

    data: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    digests: dict[str, str]
    steps: int
    batch: int
    streamed: bool | None = None


def prepare(folder: Path, config: Config) -> bool:
    """Make `folder` for a new run of `config`; whether it was not there before.

    Raises: FolderError where there is something in it already, or where it cannot be written; ModuleNotFoundError
            without the train extra.
    """
    _filelock()  # before there is a folder that would be in the way of a second try
    if (folder / "config.toml").exists():
        raise FolderError(
            f"{folder}: expected a new folder; got one with a run in it. Go on with it by --resume {folder}, give "
            "another --name, or remove it"
        )
    if folder.exists() and (not folder.is_dir() or any(path.name != "lock" for path in folder.iterdir())):
        raise FolderError(f"{folder}: expected a new or empty folder; got other files")
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "config.toml", to_toml(config))
    except OSError as error:
        raise FolderError(f"{folder}: expected a folder that can be written; got {error.strerror}") from error
    return made


@contextmanager
def unless_refused(folder: Path, made: bool, keep: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Clear away a new run that an exception ends before it left a checkpoint or a record: it would only be in the way.

    The folder goes too if it was `made` for the run. What interrupts a run leaves it, and so do exceptions of the kinds
    in `keep`, which tell how to go on with it. To be entered once the folder is locked.
    """
    try:
        yield
    except keep:
        raise
    except Exception:
        if not _has_begun(folder):
            _clear(folder, made)
        raise


def _has_begun(folder: Path) -> bool:
    """Whether there is a record or a checkpoint."""
    records, checkpoints = folder / "metrics.jsonl", folder / "checkpoints"
    saved = checkpoints.is_dir() and any(path.name.isdecimal() for path in checkpoints.iterdir())
    return saved or (records.exists() and records.stat().st_size > 0)


def _clear(folder: Path, made: bool) -> None:
    """Remove the files of a run, and no others."""
    with suppress(OSError):  # what cannot be removed must not hide why the run ended
        for name in WRITTEN:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        if made:
            (folder / "lock").unlink(missing_ok=True)
            folder.rmdir()


def read_config(folder: Path) -> Config:
    """The configuration of a run.

    Raises: FolderError where `folder` is not that of a run; ValueError naming what is wrong with its configuration.
    """
    path = folder / "config.toml"
    if not path.is_file():
        state = "a folder without config.toml" if folder.is_dir() else "no such folder"
        raise FolderError(f"{folder}: expected the folder of a training run; got {state}")
    return from_toml(path)


def require_same(folder: Path, config: Config) -> None:
    """The run in `folder` is that of `config`.

    Raises: FolderError with the fields that differ, and what to do.
    """
    changed = difference(read_config(folder), config)
    if changed:
        raise FolderError(
            f"{folder}: expected the configuration of the run in it; got {changed}. A run keeps its own: start "
            f"another from its weights by --from {folder} and a new --name"
        )


def write_facts(folder: Path, splits: Splits, steps: int, batch: int) -> None:
    """Keep what a reader of the run needs: the statistics of preprocessing and facts about the data, once."""
    if (folder / "data.json").exists():
        return
    if splits.stats is not None:
        preprocess.save(splits.stats, folder / "preprocess.npz")
    streamed = None if splits.reading is None else splits.reading.streamed
    facts = Facts(splits.name, splits.shape, splits.classes, splits.digests, steps, batch, streamed)
    write_whole(folder / "data.json", msgspec.json.format(msgspec.json.encode(facts)))


def read_facts(folder: Path) -> Facts:
    """What `write_facts` wrote.

    Raises: FolderError for a run that was stopped before it began, or a damaged file.
    """
    path = folder / "data.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Facts)
    except FileNotFoundError as error:
        raise FolderError(f"{folder}: expected a run that has begun; got one without data.json") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise FolderError(f"{path}: expected facts about data; got {error}") from error


def read_stats(folder: Path) -> preprocess.Stats | None:
    """The statistics of preprocessing, None for a run on text."""
    path = folder / "preprocess.npz"
    return preprocess.load(path) if path.exists() else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` against a second writer; the lock ends with the process, however that ends.

    Raises: FolderError where another process holds it; ModuleNotFoundError without the train extra.
    """
    filelock = _filelock()
    lock = filelock.FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise FolderError(f"{folder}: expected no other writer; got one that is still at work") from error
    try:
        yield
    finally:
        lock.release()


def _filelock() -> Any:
    try:
        return importlib.import_module("filelock")
    except ModuleNotFoundError as error:
        message = "jax231 train: expected the train extra; pip install '.[train]' in a clone of jax231"
        raise ModuleNotFoundError(f"{message} ({error})", name=error.name) from error
