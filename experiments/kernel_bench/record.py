"""What was measured, as plain data: one record for each case and form, a figure for each side of it."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jax231.core.files import write_whole
from kernel_bench.cases import Case, Form
from kernel_bench.costs import cost


@dataclass
class Figure:
    """One side's: seconds of one iteration and model, median and interquartile range over it; or why there are none.

    `error` is the largest relative difference from the `against` side, in norm over each result. `of_flops` and
    `of_bytes` are the floors over the median: shares of this machine's measured matrix product and memory copy.
    """

    median: float | None = None
    spread: float | None = None
    rounds: list[float] = field(default_factory=list)
    calls: int = 0
    compile_seconds: float | None = None
    kernels: list[str] = field(default_factory=list)
    against: str | None = None
    error: float | None = None
    agrees: bool | None = None
    of_flops: float | None = None
    of_bytes: float | None = None
    missing: str | None = None
    measured: str = ""
    revision: str | None = None


@dataclass
class Record:
    """A case in one form, what it costs at least, and every side's figure."""

    case: str
    group: str
    title: str
    form: str
    flops: float
    bytes: float
    floor_by_flops: float | None = None
    floor_by_bytes: float | None = None
    sides: dict[str, Figure] = field(default_factory=dict)

    def median(self, side: str) -> float | None:
        """The seconds of a side, where it has them."""
        return self.sides[side].median if side in self.sides else None


@dataclass
class Results:
    """Everything that is written: the machine, the pace, its peaks, the targets and all records."""

    command: str
    device: dict[str, Any]
    versions: dict[str, str]
    revision: str | None = None
    pace: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    peak_flops: float | None = None
    peak_bytes: float | None = None
    targets: list[dict[str, Any]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def record(self, case: str, form: str) -> Record | None:
        """The record of a case in one form."""
        return next((r for r in self.records if (r.case, r.form) == (case, form)), None)

    def median(self, case: str, form: str, side: str) -> float | None:
        """The seconds of a case in one form on a side, where they were measured."""
        record = self.record(case, form)
        return record.median(side) if record else None

    def add(self, record: Record) -> None:
        """Put a record where its case and form stand, or at the end; sides that it does not have keep their figures."""
        for i, old in enumerate(self.records):
            if (old.case, old.form) == (record.case, record.form):
                record.sides = {**old.sides, **record.sides}
                self.records[i] = record
                return
        self.records.append(record)

    def take(self, earlier: "Results") -> None:
        """Take over the records of an earlier run, if it was on this machine with the versions that are here now."""
        versions = {**earlier.versions, **self.versions}
        if self.device == earlier.device and all(versions[name] == earlier.versions[name] for name in earlier.versions):
            self.versions, self.records = versions, list(earlier.records)

    def rate(self) -> None:
        """Set floors and shares by the best that any side reached in the cases of this machine's peaks."""
        self.peak_flops = _best(self.record("peak-matmul", "forward"), "flops")
        self.peak_bytes = _best(self.record("peak-copy", "forward"), "bytes")
        for record in self.records:
            record.floor_by_flops = record.flops / self.peak_flops if self.peak_flops else None
            record.floor_by_bytes = record.bytes / self.peak_bytes if self.peak_bytes else None
            for figure in record.sides.values():
                figure.of_flops = ratio(record.floor_by_flops, figure.median)
                figure.of_bytes = ratio(record.floor_by_bytes, figure.median)


def empty(case: Case, form: Form) -> Record:
    """A record without figures."""
    least = cost(case, form)
    return Record(case.name, case.group, case.title, form, least.flops, least.bytes)


def write(results: Results, path: Path) -> None:
    """Write all as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def read(path: Path) -> Results:
    """What `write` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def ratio(a: float | None, b: float | None) -> float | None:
    """a / b where both are known."""
    return None if a is None or not b else a / b


def geometric_mean(ratios: list[float]) -> float | None:
    """The mean of ratios that does not depend on which of the two is below; None of none."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def _best(record: Record | None, quantity: str) -> float | None:
    medians = [f.median for f in record.sides.values() if f.median] if record else []
    return getattr(record, quantity) / min(medians) if medians else None
