"""Files that are written whole or not at all, and records that survive a kill at any moment."""

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """The folder `jax231` in the user's cache (XDG_CACHE_HOME, else ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jax231"


def write_whole(path: Path, content: bytes | str) -> None:
    """Write `content` to a temporary file beside `path`, flush it to the disk, then rename it into place."""
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append_record(path: Path, line: bytes) -> None:
    """Append one JSON record as a whole line; a torn last line of a killed writer is cut off first.

    The file is locked meanwhile, so that many processes may append to it.
    """
    if b"\n" in line:
        lines = line.count(b"\n") + 1
        raise ValueError(f"append_record: expected one line for {path}; got lines={lines}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # else one cuts off what another is writing; closing releases it
        end = os.lseek(descriptor, 0, os.SEEK_END)
        whole = _end_of_last_line(descriptor, end)
        if whole != end:
            os.ftruncate(descriptor, whole)
        rest = memoryview(line + b"\n")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_of_last_line(descriptor: int, end: int) -> int:
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def read_records(path: Path) -> Iterator[Any]:
    """The JSON records of `path` in order; none where the file is missing, a torn last line is passed over.

    Raises: ValueError naming file and line where a line before the last is not JSON.
    """
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if number == len(lines):  # after the last newline: empty, or torn by a kill
            return
        try:
            yield json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected a JSON record; got {line[:60]!r} ({error})") from error
