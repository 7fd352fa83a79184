"""The library of kernels in the user's cache: compiled once, whole or not at all, by one process at a time."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jax231.core import processor
from jax231.core.files import cache_folder, sha256, write_whole
from jax231.kernels.toolchain import KernelError, Recipe, compile_library

LIBRARY, RECORD, FAILURE = "kernels.so", "build.json", ".failed.json"
HOUR, DAY = 3600, 86400
KEPT = 90 * DAY
"""Builds that nobody has used for so long are removed when another is made."""


class Library(NamedTuple):
    """A compiled library, and how long it took."""

    path: Path
    seconds: float


def folder() -> Path:
    """Where the builds are, each in a folder named by its digest."""
    return cache_folder() / "kernels"


def say(line: str) -> None:
    """Tell the user, who waits or would wonder."""
    print(f"jax231: {line}", file=sys.stderr, flush=True)


def find(recipe: Recipe) -> Library | None:
    """The library as it was compiled before; None where there is none, or not as it was written.

    It is checked before it is loaded: a library that was cut off would end the process.
    """
    path = folder() / recipe.digest / LIBRARY
    record = _read(path.with_name(RECORD))
    if record is None or not path.is_file() or sha256(path) != record.get("sha256"):
        return None
    with contextlib.suppress(OSError):  # a cache that is not ours to write
        os.utime(path.with_name(RECORD))
    return Library(path, record["seconds"])


def failure(recipe: Recipe) -> KernelError | None:
    """Why compiling failed within the last day: to try in every process would cost each of them its start."""
    path = folder() / f"{recipe.digest}{FAILURE}"
    record = _read(path)
    if record is None or _age(path) > DAY:
        return None
    return KernelError(record["reason"], record["output"])


def obtain(recipe: Recipe, *, again: bool = False) -> Library:
    """The library from the cache, or compiled now; `again` tries in spite of a failure within the last day.

    Raises:    KernelError where it cannot be compiled, OSError where the cache cannot be written.
    """
    found = find(recipe)
    if found is None:
        folder().mkdir(parents=True, exist_ok=True)
        with _alone():
            found = find(recipe)  # another process may have made it meanwhile
            if found is None and not again and (failed := failure(recipe)):
                raise failed
            found = found or _make(recipe)
    return found


def clear() -> int:
    """Remove all builds; returns how many there were. A process that uses one is not disturbed."""
    if not folder().is_dir():
        return 0
    with _alone():
        builds = [path for path in folder().iterdir() if path.is_dir()]
        for path in folder().iterdir():
            _remove(path)
    return len(builds)


def _make(recipe: Recipe) -> Library:
    """Compile in a folder of its own, which is renamed when everything in it is on the disk."""
    home = folder() / recipe.digest
    _remove_old()
    if home.exists():
        say(f"the compiled kernels in {home} are damaged and will be compiled again")
        _remove(home)
    say(f"compiling the CPU kernels for {processor.name()} with {recipe.version} (once, up to a minute)")
    begin = time.monotonic()
    part = Path(tempfile.mkdtemp(prefix=f"{recipe.digest}.", suffix=".part", dir=folder()))
    try:
        compile_library(recipe, part / LIBRARY)
        seconds = round(time.monotonic() - begin, 2)
        _flush(part / LIBRARY)
        facts = {"sha256": sha256(part / LIBRARY), "seconds": seconds, "by": recipe.version, "flags": recipe.flags}
        write_whole(part / RECORD, json.dumps(facts))
        try:
            part.rename(home)
        except OSError:
            found = find(recipe)  # without locks another process may have been first
            if found is None:
                raise
            return found
    except KernelError as error:
        if error.lasting:
            record = {"reason": str(error), "output": error.output}
            write_whole(folder() / f"{recipe.digest}{FAILURE}", json.dumps(record))
        raise
    finally:
        _remove(part)
    _remove(folder() / f"{recipe.digest}{FAILURE}")
    say(f"compiled the CPU kernels in {seconds:.0f} s")
    return Library(home / LIBRARY, seconds)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    with (folder() / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process, which compiles the CPU kernels")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: two may compile the same, and one rename wins
            pass
        yield


def _remove_old() -> None:
    """Remove builds that nobody uses any more, and what a killed process has left."""
    for path in folder().iterdir():
        used = path / RECORD if (path / RECORD).exists() else path
        if _age(used) > (HOUR if path.suffix == ".part" else KEPT):
            _remove(path)


def _age(path: Path) -> float:
    """Seconds since it was used; 0 where another process has just removed it."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.name != "lock":  # those who wait hold it open
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object of a file; None where there is no such file, or something else in it."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
