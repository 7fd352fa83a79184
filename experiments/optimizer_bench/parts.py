"""What every part of the benchmark is given, the rows that it is judged by, and the file of all parts."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from side_process import Process, SideError

from jax231.core.files import write_whole
from optimizer_bench.sides import SIDES, SideName, environment

START_LIMIT = 180.0
"""Seconds to wait for a process to say hello."""


@dataclass(frozen=True)
class Setting:
    """How a part is measured: by whom, at which pace, and where its processes and checkpoints live.

    `patience` are the seconds of all rounds that one side may take for a case.
    """

    sides: tuple[SideName, ...]
    interpreters: dict[bool, Path]
    exchange: Path
    checkpoints: Path
    say: Callable[[str], None]
    quick: bool = False
    rounds: int = 9
    budget: float = 0.2
    pause: float = 0.06
    patience: float = 120.0
    gtol: float = 1e-8
    steps: int = 10_000
    problems: tuple[int, ...] = ()


@dataclass
class Part:
    """One part as it is written: when, how and where it was measured, and its figures."""

    command: str
    quick: bool = False
    measured: str = ""
    device: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    revision: str | None = None
    missing: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def introduce(self, facts: dict[str, Any]) -> None:
        """Take over what a process says of itself."""
        self.device = facts.get("device", self.device)
        self.versions |= facts.get("versions", {})
        self.revision = facts.get("revision", self.revision)
        self.measured = datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Target:
    """A row: the measured values, each with the most that it was aimed at (None: just a figure)."""

    what: str
    values: Sequence[float | None]
    targets: Sequence[float | None]


@contextmanager
def introduced(sides: Sequence[SideName], setting: Setting, part: Part) -> Iterator[dict[SideName, Process]]:
    """A process for each side that is installed, ended whatever happens; the others are named in `part`."""
    processes: dict[SideName, Process] = {}
    started = []
    try:
        for side in sides:
            process = _process(side, SIDES[side].peer, setting)
            started.append(process)
            try:
                facts = process.ask("hello", limit=START_LIMIT)
                missing = facts.get("missing")
            except SideError as error:
                facts, missing = {}, str(error)
            if missing:
                part.missing[side] = missing
                setting.say(f"{side} is left out: {missing}; name an interpreter that has it by --peers-python")
                process.close()
                continue
            part.introduce(facts)
            processes[side] = process
        yield processes
    finally:
        for process in started:
            process.close()


def alone(module: str, setting: Setting, part: Part, limit: float) -> dict[str, Any]:
    """What `measure` of a module returns, in a process of its own."""
    process = _process("jax231", False, setting)
    try:
        part.introduce(process.ask("hello", limit=START_LIMIT))
        return process.ask("measure", module, setting.quick, str(setting.checkpoints), limit=limit)
    finally:
        process.close()


def _process(side: str, peer: bool, setting: Setting) -> Process:
    return Process(side, setting.interpreters[peer], "optimizer_bench.worker", environment(), setting.exchange)


def read(path: Path) -> dict[str, Part]:
    """All parts of an earlier run; none where there was none."""
    return {name: Part(**part) for name, part in json.loads(path.read_text()).items()} if path.exists() else {}


def write(parts: dict[str, Part], path: Path) -> None:
    """All parts as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {name: asdict(part) for name, part in parts.items()}
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def ratio(a: float | None, b: float | None) -> float | None:
    """a / b where both are known."""
    return None if a is None or not b else a / b


def number(value: float | None, digits: int = 3) -> str:
    """For a table."""
    return "-" if value is None else f"{value:.{digits}g}"
