"""How fast is training, against the same network and recipe in PyTorch?

    python experiments/bench_training.py --peers-python /path/to/a/python/with/torch
    python experiments/bench_training.py --names lenet --rounds 1

trains LeNet on MNIST, ResNet-20 on CIFAR-10 and an LSTM on Shakespeare: ours by the compiled epoch of `jax231 train`,
PyTorch's by an eager loop, channels last, with fused optimizers, and once more by ``torch.compile``. Each side has a
process of its own, the data in its memory as uint8, and the same order of batches; the processes take turns with a
pause between. All start from the same weights, and the losses of the first steps are compared before anything is timed.
Data are found under ``JAX231_DATA``. Writes ``experiments/results/bench-training.json`` after each case, and at the end
the table in the README. Ctrl-C keeps what was measured.
"""

import math
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import cyclopts
from command_line import as_called, stop_like_interrupt
from document import replace_between
from kernel_bench.record import Figure, Record, Results, read, write
from kernel_bench.turns import Pace, fill, introduce
from side_process import Process, environment
from training_bench import training_tables
from training_bench.training_cases import CASES, Name

from jax231.core.checks import require

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- training:begin, made by `python experiments/bench_training.py` -->", "<!-- training:end -->"

PREPARE_LIMIT = 600.0
"""Seconds for compiling a case on a busy machine."""

TOLERANCE = 1e-3
"""Largest relative difference, in norm, of the first losses and of the weights after them."""

SideName = Literal["jax231", "torch", "torch_compile"]
"""Ours comes first: it leaves weights and data for the others."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured, for how long, and where it goes."""

    names: tuple[Name, ...] = get_args(Name)
    """Which trainings."""

    sides: tuple[SideName, ...] = get_args(SideName)
    """Who trains."""

    rounds: int = 9
    """Turns that each side takes with a case."""

    budget: float = 0.0
    """Seconds of a turn, in which there is at least one chunk of steps."""

    pause: float = 0.3
    """Seconds between turns."""

    patience: float = 60.0
    """Seconds of chunks that a side may take for a case: a slower one has fewer rounds."""

    peers_python: Path = Path(sys.executable)
    """The interpreter that has PyTorch."""

    results: Path = HERE / "results" / "bench-training.json"
    """Where the figures go."""

    document: Path = HERE.parent / "README.md"
    """Where the table goes, between its markers."""

    def __post_init__(self):
        require(set(self.names) <= set(CASES), "bench_training", f"names among {', '.join(CASES)}", names=self.names)
        known = "jax231" in self.sides and set(self.sides) <= set(get_args(SideName))
        expected = f"sides among {', '.join(get_args(SideName))}, the first with them"
        require(known, "bench_training", expected, sides=self.sides)
        require(self.rounds >= 1, "bench_training", "at least one round", rounds=self.rounds)
        for name in ("budget", "pause", "patience"):
            value = getattr(self, name)
            require(0 <= value < math.inf, "bench_training", f"a {name} of zero or more seconds", **{name: value})


def main(config: Annotated[Config, cyclopts.Parameter(name="*", consume_multiple=True)] = Config()) -> Results:
    """Time training against PyTorch."""
    results = run(config)
    replace_between(config.document, BEGIN, END, training_tables.document(results))
    print(f"figures in {config.results}, table in {config.document}")
    return results


def run(config: Config, say: Callable[[str], None] = print) -> Results:
    """Time the chosen trainings; writes the figures after each."""
    pace = Pace(config.rounds, config.budget, config.pause, config.patience)
    results = Results(as_called("bench_training"), {}, {}, pace=asdict(pace))
    with tempfile.TemporaryDirectory(prefix="bench-training-") as folder, ExitStack() as stack:
        exchange = Path(folder)
        processes = {}
        for side in get_args(SideName):
            if side not in config.sides:
                continue
            interpreter = Path(sys.executable) if side == "jax231" else config.peers_python
            processes[side] = Process(side, interpreter, "training_bench.training_worker", environment(), exchange)
            stack.callback(processes[side].close)
        introduce(processes, get_args(SideName)[1:], results, say)
        require(bool(results.device), "bench_training", "a side of JAX that can be measured", missing=results.missing)
        if config.results.exists():
            results.take(read(config.results))
        try:
            for name in config.names:
                case = CASES[name]
                record = Record(name, "training", case.title, "training", 0.0, 0.0)
                record.sides = {side: Figure() for side in processes}
                work = case, "training", exchange
                fill(record, work, processes, pace, tolerance=TOLERANCE, revision=results.revision,
                     repeats=case.chunk, limit=PREPARE_LIMIT)  # fmt: skip
                results.add(record)
                write(results, config.results)
                say(training_tables.progress(record))
        except KeyboardInterrupt:
            say("Interrupted: what was measured is kept.")
    return results


if __name__ == "__main__":
    stop_like_interrupt()
    cyclopts.run(main, result_action="return_value")
