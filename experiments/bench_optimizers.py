"""How good are the optimizers? On time and by counting, against JAX libraries, SciPy and PyTorch.

    python experiments/bench_optimizers.py --peers-python /path/to/a/python/with/the/peers
    python experiments/bench_optimizers.py --parts digits rosenbrock --sides lbfgs optax
    python experiments/bench_optimizers.py --parts problems --problems 6 10 --quick

measures part by part, each side in a process of its own, the processes taking turns. After each part it writes
``experiments/results/bench-optimizers.json``, in which a part that is measured again replaces the old one, and the
tables in the README. A side whose package is not installed is left out and named. Ctrl-C keeps the parts that are
finished.
"""

import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import cyclopts
from command_line import as_called, stop_like_interrupt
from document import replace_between
from optimizer_bench import page, parts
from optimizer_bench.more_garbow_hillstrom import PROBLEMS
from optimizer_bench.parts import Part, Setting
from optimizer_bench.registry import PARTS, PartName
from optimizer_bench.sides import NAMES, SideName

from jax231.core.checks import require

HERE = Path(__file__).resolve().parent
BEGIN = "<!-- optimizers:begin, made by `python experiments/bench_optimizers.py` -->"
END = "<!-- optimizers:end -->"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured, for how long, and where it goes."""

    parts: tuple[PartName, ...] = get_args(PartName)
    """Which parts."""

    sides: tuple[SideName, ...] = NAMES
    """Who is measured."""

    problems: tuple[int, ...] = ()
    """Numbers of test problems in the paper (none: all)."""

    gtol: float = 1e-8
    """The largest entry of a gradient that ends a test problem (1e-5 is still far from a minimum on Watson's)."""

    steps: int = 10_000
    """At most so many iterations of a run."""

    rounds: int = 9
    """Turns that each side takes with a case."""

    budget: float = 0.2
    """Seconds of a turn."""

    pause: float = 0.06
    """Seconds between turns."""

    patience: float = 180.0
    """Seconds of calls that a side may take for a case: a slower one has fewer rounds."""

    quick: bool = False
    """Two short rounds of small cases, printed and not written anywhere."""

    peers_python: Path = Path(sys.executable)
    """The interpreter that has JAXopt, Optimistix and PyTorch."""

    results: Path = HERE / "results" / "bench-optimizers.json"
    """Where the figures go."""

    document: Path = HERE.parent / "README.md"
    """Where the tables go, between their markers."""

    def __post_init__(self):
        where = "bench_optimizers"
        unknown = sorted(set(self.problems) - {problem.number for problem in PROBLEMS})
        require(not unknown, where, "numbers of problems from 1 to 35", unknown=unknown)
        require(set(self.parts) <= set(PARTS), where, f"parts among {', '.join(PARTS)}", parts=self.parts)
        require(set(self.sides) <= set(NAMES), where, f"sides among {', '.join(NAMES)}", sides=self.sides)
        require(self.rounds >= 1, where, "at least one round", rounds=self.rounds)
        require(self.steps >= 1, where, "at least one step", steps=self.steps)
        for name in ("gtol", "budget", "pause", "patience"):
            value = getattr(self, name)
            require(0 <= value < math.inf, where, f"a {name} of zero or more", **{name: value})

    def setting(self, exchange: Path, say: Callable[[str], None]) -> Setting:
        """What a part is given."""
        return Setting(
            sides=self.sides, interpreters={False: Path(sys.executable), True: self.peers_python},
            exchange=exchange, checkpoints=self.results.with_suffix(""), say=say, quick=self.quick,
            rounds=2 if self.quick else self.rounds, budget=0.05 if self.quick else self.budget, pause=self.pause,
            patience=5.0 if self.quick else self.patience, gtol=self.gtol, steps=self.steps, problems=self.problems,
        )  # fmt: skip


def main(config: Annotated[Config, cyclopts.Parameter(name="*", consume_multiple=True)] = Config()) -> dict[str, Part]:
    """Measure the optimizers."""
    return run(config, partial(print, file=sys.stderr, flush=True))


def run(config: Config, say: Callable[[str], None]) -> dict[str, Part]:
    """Measure the chosen parts; writes figures and tables after each unless it has to be quick."""
    known: dict[str, Part] = {}
    with tempfile.TemporaryDirectory(prefix="bench-optimizers-") as folder:
        setting = config.setting(Path(folder), say)
        try:
            for name in config.parts:
                say(f"== {name}")
                part = Part(as_called("bench_optimizers"), config.quick)
                PARTS[name].module.run(name, setting, part)
                earlier = known if config.quick else parts.read(config.results)
                measured = {**earlier, name: part}
                known = {name: measured[name] for name in PARTS if name in measured}
                if not config.quick:
                    parts.write(known, config.results)
                    replace_between(config.document, BEGIN, END, page.document(known))
        except KeyboardInterrupt:
            say("Interrupted: the parts that are finished are kept.")
    say("\n".join(["", *page.target_lines(known)]))
    return known


if __name__ == "__main__":
    stop_like_interrupt()
    cyclopts.run(main, result_action="return_value")
