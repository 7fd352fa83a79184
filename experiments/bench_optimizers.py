"""How good is `minimise`? Against SciPy, Optax and other JAX libraries, on the standard test problems.

    python experiments/bench_optimizers.py
    python experiments/bench_optimizers.py --problems 6 10 --sides lbfgs scipy_bfgs --quick

lets every side minimise all problems of Moré, Garbow and Hillstrom in float64 from their standard starts: once with an
objective that counts its evaluations, and then, in turns with the other sides, on time. Writes
``experiments/results/bench-optimizers.json`` after each problem, and at the end the table in the README. A side whose
package is not installed is left out and named. Ctrl-C keeps what was measured.
"""

import json
import math
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, get_args

import cyclopts
import jax
from document import replace_between
from optimizer_bench import solving, tables
from optimizer_bench.minimisers import SIDES, Limits, SideName
from optimizer_bench.more_garbow_hillstrom import PROBLEMS, Problem
from optimizer_bench.solving import Record

from jax231.core.checks import require
from jax231.core.files import write_whole
from jax231.measure import machine

HERE = Path(__file__).resolve().parent
BEGIN = "<!-- optimizers:begin, made by `python experiments/bench_optimizers.py` -->"
END = "<!-- optimizers:end -->"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured, for how long, and where it goes."""

    problems: tuple[int, ...] = ()
    """Numbers of problems in the paper (none: all)."""

    sides: tuple[SideName, ...] = get_args(SideName)
    """Who is measured."""

    gtol: float = 1e-8
    """The largest entry of a gradient that counts as zero (1e-5 is still far from a minimum on Watson's problem)."""

    steps: int = 10_000
    """At most so many iterations."""

    repeats: int = 11
    """Rounds in which the sides take turns with a problem."""

    budget: float = 2.0
    """Seconds of a problem's rounds; at least three are done."""

    quick: bool = False
    """Only count, small forms only; printed and not written anywhere."""

    results: Path = HERE / "results" / "bench-optimizers.json"
    """Where the figures go."""

    document: Path = HERE.parent / "README.md"
    """Where the table goes, between its markers."""

    def __post_init__(self):
        known = {problem.number for problem in PROBLEMS}
        unknown = sorted(set(self.problems) - known)
        require(not unknown, "bench_optimizers", "numbers of problems from 1 to 35", unknown=unknown)
        require(set(self.sides) <= set(SIDES), "bench_optimizers", f"sides among {', '.join(SIDES)}", sides=self.sides)
        require(self.repeats >= 1, "bench_optimizers", "at least one round", repeats=self.repeats)
        require(self.steps >= 1, "bench_optimizers", "at least one step", steps=self.steps)
        for name in ("gtol", "budget"):
            value = getattr(self, name)
            require(0 <= value < math.inf, "bench_optimizers", f"a {name} of zero or more", **{name: value})

    @property
    def chosen(self) -> tuple[Problem, ...]:
        """The forms of the problems."""
        numbers = self.problems or tuple(problem.number for problem in PROBLEMS)
        return tuple(p for p in PROBLEMS if p.number in numbers and not (self.quick and p.n > 12))


def main(config: Annotated[Config, cyclopts.Parameter(name="*", consume_multiple=True)] = Config()) -> list[Record]:
    """Measure the minimisers on the standard test problems."""
    with jax.enable_x64(True):
        records, results = run(config.chosen, config)
    if records and not config.quick:
        replace_between(config.document, BEGIN, END, tables.document(results, records))
        print(f"figures in {config.results}, table in {config.document}")
    return records


def run(
    problems: Sequence[Problem], config: Config, say: Callable[[str], None] = print
) -> tuple[list[Record], dict[str, Any]]:
    """Measure `problems`, with 64-bit types on; writes the figures after each unless it has to be quick."""
    missing = [side for side in config.sides if SIDES[side].missing]
    sides = [side for side in config.sides if side not in missing]
    for side in missing:
        say(f"{SIDES[side].title} is left out: {SIDES[side].package} is not installed")
    limits = Limits(config.gtol, config.steps)
    results = {
        "command": _command(), "device": machine.device(), "versions": _versions(sides),
        "revision": machine.revision(), "limits": limits._asdict(), "missing": missing,
    }  # fmt: skip
    records: list[Record] = []
    begin = time.monotonic()
    try:
        for number, problem in enumerate(problems, 1):
            record = Record(problem.number, problem.name, problem.n, problem.m)
            for side in sides:
                record.sides[side] = solving.solve(problem, side, limits)
            if not config.quick:
                solving.time(problem, record, limits, config.repeats, config.budget)
            records.append(record)
            if not config.quick:
                _write(results, records, config.results)
            minutes, seconds = divmod(int(time.monotonic() - begin), 60)
            place = f"[{number:2}/{len(problems)} {minutes:2}:{seconds:02}]"
            figures = "  ".join(f"{side} {tables.cell(record.sides[side])}" for side in sides)
            say(f"{place} {problem.number:2} {problem.title:34} {figures}")
    except KeyboardInterrupt:
        say("Interrupted: what was measured is kept.")
    say("\n".join(["", *tables.summary_lines(records)]))
    return records, results


def _write(results: dict[str, Any], records: Sequence[Record], path: Path) -> None:
    summaries = [asdict(summary) for summary in solving.summaries(records)]
    content = {**results, "summaries": summaries, "records": [asdict(record) for record in records]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _versions(sides: Sequence[SideName]) -> dict[str, str]:
    packages = sorted({SIDES[side].package for side in sides})
    return machine.versions() | {package: metadata.version(package) for package in packages}


def _command() -> str:
    """As it was called, without the paths of this machine."""
    arguments = ("PATH" if Path(argument).is_absolute() else argument for argument in sys.argv[1:])
    return shlex.join(["python", "experiments/bench_optimizers.py", *arguments])


def _terminated(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    cyclopts.run(main, result_action="return_value")
