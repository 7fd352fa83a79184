"""How fast are the kernels, in every loop, map and derivative? Against XLA's own forms, PyTorch and other peers.

    python experiments/bench_kernels.py
    python experiments/bench_kernels.py --peers-python /path/to/a/python/with/torch
    python experiments/bench_kernels.py --cases conv resnet20 --sides compiled plain torch

measures every case on every side: each side in a process of its own, the processes taking turns with a pause between
(in one process, or at the same time, their threads would disturb each other). All sides compute with the same numbers,
and what they return is compared before anything is timed. Writes ``experiments/results/bench-kernels.json`` after each
case, and at the end the table in the README. Ctrl-C keeps what was measured; cases and sides that are not chosen keep
their figures as long as machine and versions are the same.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, get_args

import cyclopts
import numpy as np
from command_line import as_called, stop_like_interrupt
from document import replace_between
from kernel_bench import operands, tables
from kernel_bench.cases import Case, Form, Group, Name, Neighbors, chosen
from kernel_bench.record import Results, read, write
from kernel_bench.sides import SIDES, SideName, serves
from kernel_bench.targets import targets
from kernel_bench.turns import Pace, Process, introduce, measure

from jax231.core.checks import require
from jax231.data.errors import DataError
from jax231.data.sources import load

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- kernels:begin, made by `python experiments/bench_kernels.py` -->", "<!-- kernels:end -->"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured, for how long, and where it goes."""

    cases: tuple[Group | Name, ...] = ()
    """Groups or cases (none: all)."""

    sides: tuple[SideName, ...] = get_args(SideName)
    """Who is measured; a side whose package is missing is left out and named."""

    rounds: int = 5
    """Turns that each side takes with a case."""

    budget: float = 0.1
    """Seconds of a turn."""

    pause: float = 0.06
    """Seconds between turns."""

    patience: float = 12.0
    """Seconds of calls that a side may take for a case in one form; one whose single call takes longer is left out."""

    quick: bool = False
    """Two short rounds, printed and not written anywhere."""

    peers_python: Path = Path(sys.executable)
    """The interpreter that has PyTorch and faiss."""

    results: Path = HERE / "results" / "bench-kernels.json"
    """Where the figures go."""

    document: Path = HERE.parent / "README.md"
    """Where the table goes, between its markers."""

    def __post_init__(self):
        known = {name for names in (Group, Name) for name in get_args(names)}
        require(set(self.cases) <= known, "bench_kernels", "known cases", unknown=sorted(set(self.cases) - known))
        require(set(self.sides) <= set(SIDES), "bench_kernels", f"sides among {', '.join(SIDES)}", sides=self.sides)
        require(self.rounds >= 1, "bench_kernels", "at least one round", rounds=self.rounds)
        for name in ("budget", "pause", "patience"):
            value = getattr(self, name)
            require(0 <= value < math.inf, "bench_kernels", f"a {name} of zero or more seconds", **{name: value})

    @property
    def pace(self) -> Pace:
        """The rounds and seconds, short ones where it has to be quick."""
        if self.quick:
            return Pace(2, 0.05, 0.05, min(self.patience, 5.0))
        return Pace(self.rounds, self.budget, self.pause, self.patience)


def main(config: Annotated[Config, cyclopts.Parameter(name="*", consume_multiple=True)] = Config()) -> Results:
    """Measure the kernels against XLA's own forms, PyTorch and other peers."""
    results = run(chosen(config.cases), config)
    if not config.quick:
        replace_between(config.document, BEGIN, END, tables.document(results))
        print(f"figures in {config.results}, table in {config.document}")
    return results


def run(cases: tuple[Case, ...], config: Config, say: Callable[[str], None] = print) -> Results:
    """Measure `cases`; writes the figures after each unless it has to be quick."""
    with tempfile.TemporaryDirectory(prefix="bench-kernels-") as folder, _processes(config, Path(folder)) as processes:
        exchange = Path(folder)
        results = _introduced(processes, config, say)
        for case in cases:
            if isinstance(case.work, Neighbors):
                operands.write_neighbors(exchange, case.work, _images(case.work, say))
        work: list[tuple[Case, Form]] = [
            (case, form) for case in cases for form in case.forms if any(serves(side, case, form) for side in processes)
        ]
        begin = time.monotonic()
        try:
            for number, (case, form) in enumerate(work, 1):
                record = measure(case, form, processes, config.pace, exchange, results)
                results.add(record)
                _rated(results)
                if not config.quick:
                    write(results, config.results)
                minutes, seconds = divmod(int(time.monotonic() - begin), 60)
                place = f"[{number:3}/{len(work)} {minutes:2}:{seconds:02}]"
                say(f"{place} {case.name:14} {form:10} {tables.progress(record)}")
        except KeyboardInterrupt:
            say("Interrupted: what was measured is kept.")
    _rated(results)
    say("\n".join(["", *tables.ratio_lines(targets(results))]))
    return results


@contextmanager
def _processes(config: Config, exchange: Path) -> Iterator[dict[SideName, Process]]:
    """One process for each side, ended whatever happens."""
    processes = {
        side: Process(side, config.peers_python if SIDES[side].peer else Path(sys.executable), exchange)
        for side in config.sides
    }
    started = list(processes.values())
    try:
        yield processes
    finally:
        for process in started:
            process.close()


def _introduced(processes: dict[SideName, Process], config: Config, say: Callable[[str], None]) -> Results:
    """Results without records, or those of an earlier run here; takes the sides out that have nothing to measure."""
    results = Results(as_called("bench_kernels"), {}, {}, pace=asdict(config.pace))
    introduce(processes, [side for side in processes if SIDES[side].peer], results, say)
    require(bool(results.device), "bench_kernels", "a side of JAX that can be measured", missing=results.missing)
    if not config.quick and config.results.exists():
        results.take(read(config.results))
    return results


def _rated(results: Results) -> None:
    results.rate()
    results.targets = [asdict(target) for target in targets(results)]


def _images(work: Neighbors, say: Callable[[str], None]) -> tuple[np.ndarray, np.ndarray] | None:
    """Fashion-MNIST where it is at hand."""
    try:
        data = load("fashion_mnist")
    except (DataError, OSError) as error:
        say(f"nearest neighbours of random examples: {error}")
        return None
    return data.train.images[: work.train + work.queries] / np.float32(255), data.train.labels


if __name__ == "__main__":
    stop_like_interrupt()
    cyclopts.run(main, result_action="return_value")
