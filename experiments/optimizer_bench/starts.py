"""Many starts of L-BFGS on Rosenbrock's function in 100 dimensions, in the time of one."""

from typing import Any

import jax
import numpy as np

from jax231.measure.timing import interleaved
from jax231.optim.minimise import minimise
from jax231.optim.multi_start import multi_start
from optimizer_bench import cases, objectives
from optimizer_bench.parts import Part, Setting, Target, alone, number

CASE = next(case for case in cases.CASES if case.name == "rosenbrock-100")
STARTS = 64
NOISE = 0.1
"""Standard deviation of the starts around the standard one, which is the first of them."""


def measure(quick: bool, _: str) -> dict[str, Any]:
    """In turns: all starts at once, the standard start alone, and every start alone one after another."""
    noise = NOISE * np.random.default_rng(0).standard_normal((STARTS, CASE.n))
    starts = cases.start(CASE) + np.where(np.arange(STARTS)[:, None] > 0, noise, 0.0)
    fun = objectives.objective(CASE)

    def one(start: np.ndarray) -> jax.Array:
        return minimise(fun, start, gtol=CASE.gtol).x

    found = multi_start(fun, starts, gtol=CASE.gtol)
    calls = {
        "all": (lambda: multi_start(fun, starts, gtol=CASE.gtol).runs.x, ()),
        "standard start": (one, (starts[0],)),
        "one after another": (lambda: [one(start) for start in starts], ()),
    }
    timings = interleaved(calls, repeats=3 if quick else 31, budget=2.0 if quick else 60.0)
    return {
        "converged": int(found.runs.converged.sum()),
        "efficiency": float(found.efficiency),
        "seconds": {name: timing.median for name, timing in timings.items()},
        "spread": {name: timing.spread for name, timing in timings.items()},
    }


def run(name: str, setting: Setting, part: Part) -> None:
    """Measure in a process of its own."""
    part.data |= alone(name, setting, part, 900.0)
    setting.say(f"{part.data}")


def targets(name: str, part: Part) -> list[Target]:
    """All starts in the mean time of one of them, and in the standard one's."""
    seconds = part.data["seconds"]
    values = [seconds["all"] / (seconds["one after another"] / STARTS), seconds["all"] / seconds["standard start"]]
    return [Target(f"{STARTS} starts of L-BFGS, Rosenbrock-100 / one of them alone, mean; the standard start",
                   values, [20, 20])]  # fmt: skip


def lines(name: str, part: Part) -> list[str]:
    """A row a way."""
    data = part.data
    rows = [f"| {what} | {number(1e3 * s)} ({data['spread'][what]:.0%}) |" for what, s in data["seconds"].items()]
    return [
        f"{data['converged']} of {STARTS} converged to {CASE.gtol:g}; {data['efficiency']:.0%} of the steps that "
        "were computed were needed.", "",
        "| what | ms (interquartile range over it) |", "|---|---:|", *rows, "",
    ]  # fmt: skip
