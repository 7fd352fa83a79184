"""The record of a run, ``metrics.jsonl``: a line a chunk of steps, and a line an epoch."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from jax231.core.files import append_record, read_records, write_whole


class Log:
    """Appends records to a file; while the disk is full they wait in memory."""

    def __init__(self, path: Path, say: Callable[[str], None] = lambda text: None):
        self._path, self._say = path, say
        self._waiting: list[bytes] = []

    def append(self, record: dict[str, Any]) -> None:
        """Write one record, numbers that are not finite as null."""
        full = bool(self._waiting)
        self._waiting.append(msgspec.json.encode(record))
        try:
            while self._waiting:
                append_record(self._path, self._waiting[0])
                self._waiting.pop(0)
        except OSError as error:
            if not full:
                self._say(f"{self._path} could not be written: {error.strerror}; its lines are kept in memory.")

    def cut(self, step: int) -> None:
        """Forget what was recorded after `step`: a resumed run does those steps again."""
        records = list(read_records(self._path))
        kept = [record for record in records if record["step"] <= step]
        if len(kept) < len(records):
            write_whole(self._path, "".join(json.dumps(record) + "\n" for record in kept))


class Unwritten(Log):
    """The log of a process that leaves the writing to another one."""

    def __init__(self):
        super().__init__(Path())

    def append(self, record: dict[str, Any]) -> None:
        """Nothing."""

    def cut(self, step: int) -> None:
        """Nothing."""


def read(folder: Path, kind: str = "epoch") -> list[dict[str, Any]]:
    """The records of one kind of the run in `folder`: "chunk" or "epoch"."""
    return [record for record in read_records(folder / "metrics.jsonl") if record["kind"] == kind]


def finite(value: float) -> float | None:
    """`value` for a record, None where it is not finite."""
    return float(value) if math.isfinite(value) else None
