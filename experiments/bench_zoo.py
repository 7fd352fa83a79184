"""How long do the networks take, forward and in training, against PyTorch?

    python experiments/bench_zoo.py --peers-python /path/to/a/python/with/torch/and/torchvision
    python experiments/bench_zoo.py --names resnet20 --rounds 1

times scores in evaluation mode and training steps of each network, ours compiled, PyTorch's eager and channels last,
each side in a process of its own, the processes taking turns with a pause between. Both start from the same weights,
and what they compute is compared before anything is timed. torchvision is installed as ``zoo_parity.py`` says. Writes
``experiments/results/bench-zoo.json`` after each case, and at the end the table in the README. Ctrl-C keeps what was
measured; networks that are not chosen keep their figures as long as machine and versions are the same.
"""

import math
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, get_args

import cyclopts
from command_line import as_called, stop_like_interrupt
from document import replace_between
from kernel_bench.record import Figure, Record, Results, read, write
from kernel_bench.turns import NETWORK_TOLERANCE, TOLERANCE, Pace, fill, introduce
from side_process import Process, environment
from zoo_bench import bench_tables
from zoo_bench.bench_cases import CASES, FORMS, Case, Form, Name

from jax231.core.checks import require
from jax231.models import zoo
from jax231.models.summary import of_entry

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- zoo:begin, made by `python experiments/bench_zoo.py` -->", "<!-- zoo:end -->"

PREPARE_LIMIT = 1200.0
"""Seconds for compiling a network on a busy machine."""

SIDES = ("jax231", "torch")
"""Ours comes first: it leaves the weights for the other."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured, for how long, and where it goes."""

    names: tuple[Name, ...] = get_args(Name)
    """Which networks."""

    rounds: int = 7
    """Turns that each side takes with a case."""

    budget: float = 1.0
    """Seconds of a turn, in which there is at least one call."""

    pause: float = 0.1
    """Seconds between turns."""

    patience: float = 120.0
    """Seconds of calls that a side may take for a case: a slower one has fewer rounds."""

    peers_python: Path = Path(sys.executable)
    """The interpreter that has PyTorch and torchvision."""

    results: Path = HERE / "results" / "bench-zoo.json"
    """Where the figures go."""

    document: Path = HERE.parent / "README.md"
    """Where the table goes, between its markers."""

    def __post_init__(self):
        require(set(self.names) <= set(CASES), "bench_zoo", f"names among {', '.join(CASES)}", names=self.names)
        require(self.rounds >= 1, "bench_zoo", "at least one round", rounds=self.rounds)
        for name in ("budget", "pause", "patience"):
            value = getattr(self, name)
            require(0 <= value < math.inf, "bench_zoo", f"a {name} of zero or more seconds", **{name: value})


def main(config: Annotated[Config, cyclopts.Parameter(name="*", consume_multiple=True)] = Config()) -> Results:
    """Time the networks against PyTorch."""
    results = run(config)
    replace_between(config.document, BEGIN, END, bench_tables.document(results))
    print(f"figures in {config.results}, table in {config.document}")
    return results


def run(config: Config, say: Callable[[str], None] = print) -> Results:
    """Time the chosen networks; writes the figures after each."""
    pace = Pace(config.rounds, config.budget, config.pause, config.patience)
    results = Results(as_called("bench_zoo"), {}, {}, pace=asdict(pace))
    with tempfile.TemporaryDirectory(prefix="bench-zoo-") as folder, ExitStack() as stack:
        exchange = Path(folder)
        processes = {}
        for side in SIDES:
            interpreter = config.peers_python if side == "torch" else Path(sys.executable)
            processes[side] = Process(side, interpreter, "zoo_bench.bench_worker", environment(), exchange)
            stack.callback(processes[side].close)
        introduce(processes, ["torch"], results, say)
        require(bool(results.device), "bench_zoo", "a side of JAX that can be measured", missing=results.missing)
        if config.results.exists():
            results.take(read(config.results))
        try:
            for name in config.names:
                for form in FORMS:
                    record = blank(CASES[name], form)
                    record.sides = {side: Figure() for side in processes}
                    tolerance = TOLERANCE if form == "forward" else NETWORK_TOLERANCE
                    work = CASES[name], form, exchange
                    fill(record, work, processes, pace, tolerance=tolerance, revision=results.revision,
                         limit=PREPARE_LIMIT)  # fmt: skip
                    results.add(record)
                    write(results, config.results)
                    say(f"{name:18} {form:8} {bench_tables.progress(record)}")
        except KeyboardInterrupt:
            say("Interrupted: what was measured is kept.")
    say("\n".join(["", *bench_tables.target_lines(bench_tables.rows(results))]))
    return results


def blank(case: Case, form: Form) -> Record:
    """A record without figures: a step costs three times what its forward pass does."""
    entry = zoo.entry(case.name)
    macs = case.n * of_entry(entry, case.shape, case.classes, train=form == "step").macs
    title = f"{entry.title}, {case.n} images of {case.shape[0]}x{case.shape[1]}"
    return Record(case.name, "networks", title, form, 2.0 * macs * (3 if form == "step" else 1), 0.0)


if __name__ == "__main__":
    stop_like_interrupt()
    cyclopts.run(main, result_action="return_value")
