"""The timed cases: every side minimises from the same start to the same gradient, in turns between processes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import numpy as np
from side_process import Process, SideError, in_turns

from optimizer_bench import cases, objectives
from optimizer_bench.cases import CASES, Case
from optimizer_bench.parts import Part, Setting, Target, introduced, number, ratio
from optimizer_bench.sides import DENSE, DENSE_LIMIT, ON_TIME, SIDES, SideName

PREPARE_LIMIT = 900.0
"""Seconds for counting a run, compiling it and running it twice."""

OWN: SideName = "lbfgs"
TARGETS = {"digits": 0.6, "fashion": 0.8, "rosenbrock-100": 0.8, "rosenbrock-10000": 0.8}
"""The most that our seconds should be, in those of the fastest other side."""


@dataclass
class Figure:
    """One side's: seconds of a run with their quartiles over the rounds, what it took, and where it ended.

    `above` is the value less the lowest of any side, of that (at least of 1); `agrees` whether that is next to nothing
    and the gradient as small as was asked for.
    """

    seconds: float | None = None
    quartiles: tuple[float, float] | None = None
    rounds: list[float] = field(default_factory=list)
    calls: int = 0
    compile_seconds: float | None = None
    evaluations: int | None = None
    gradients: int | None = None
    value: float | None = None
    grad_norm: float | None = None
    above: float | None = None
    agrees: bool | None = None
    missing: str | None = None


def run(name: str, setting: Setting, part: Part) -> None:
    """Measure the cases of a part."""
    chosen = [case for case in CASES if case.part == name and (case.quick or not setting.quick)]
    if setting.quick and len(chosen) == 0:
        setting.say(f"{name}: too long for a quick run")
        return
    sides = [side for side in ON_TIME if side in setting.sides]
    with introduced(sides, setting, part) as processes:
        for case in chosen:
            figures = measure(case, processes, setting)
            part.data[case.name] = {side: asdict(figure) for side, figure in figures.items()}


def measure(case: Case, processes: Mapping[SideName, Process], setting: Setting) -> dict[SideName, Figure]:
    """Prepare a case on every side, compare where they ended, then time them in turns."""
    figures: dict[SideName, Figure] = {}
    ends: dict[SideName, np.ndarray] = {}
    rounds: dict[SideName, int] = {}
    for side, process in processes.items():
        figure = figures[side] = Figure()
        if side in DENSE and case.n > DENSE_LIMIT:
            figure.missing = f"a matrix of {case.n:,} rows is left out"
            continue
        try:
            facts = process.ask("prepare", case, setting.steps, limit=PREPARE_LIMIT)
        except SideError as error:
            figure.missing = str(error)
            continue
        ends[side] = facts["x"]
        figure.compile_seconds, figure.evaluations = facts["compile"], facts["evaluations"]
        figure.gradients = facts["gradients"]
        rounds[side] = max(min(setting.rounds, int(setting.patience / facts["first"])), 1)
        setting.say(f"{case.name:17} {SIDES[side].title:46} {figure.evaluations} evaluations, {facts['first']:.3g} s")
    compare(case, ends, figures)
    turns = in_turns(processes, rounds, budget=setting.budget, pause=setting.pause, limit=PREPARE_LIMIT)
    for side, taken in turns.items():
        figure = figures[side]
        figure.rounds, figure.calls, figure.missing = taken.seconds, taken.calls, taken.failed
        if figure.rounds and not figure.missing:
            low, figure.seconds, high = map(float, np.quantile(figure.rounds, (0.25, 0.5, 0.75)))
            figure.quartiles = low, high
    return figures


def compare(case: Case, ends: Mapping[SideName, np.ndarray], figures: Mapping[SideName, Figure]) -> None:
    """Set values, gradients and agreement, all by one evaluation here in float64."""
    with jax.enable_x64(True):
        data = tuple(map(jax.device_put, cases.data(case))) if ends else ()
        evaluate = jax.jit(jax.value_and_grad(objectives.objective(case)))
        for side, x in ends.items():
            value, grad = evaluate(x, *data)
            norm = float(abs(grad).max())
            if np.isfinite(float(value)) and np.isfinite(norm):
                figures[side].value, figures[side].grad_norm = float(value), norm
    values = [figure.value for figure in figures.values() if figure.value is not None]
    for figure in (figures[side] for side in ends):
        figure.agrees = False
        if figure.value is not None and figure.grad_norm is not None:
            lowest = min(values)
            figure.above = (figure.value - lowest) / max(1.0, abs(lowest))
            figure.agrees = figure.above <= case.agreement and figure.grad_norm <= 1.001 * case.gtol


def targets(name: str, part: Part) -> list[Target]:
    """Our seconds in those of the fastest other side that reached the minimum."""
    rows = []
    for case in (case for case in CASES if case.name in part.data):
        figures = part.data[case.name]
        others = [f["seconds"] for side, f in figures.items() if side != OWN and f["agrees"] and f["seconds"]]
        ours = figures[OWN]["seconds"] if OWN in figures else None
        value = ratio(ours, min(others, default=None))
        rows.append(Target(f"L-BFGS, {case.title}, to a gradient of {case.gtol:g} / the fastest peer", [value],
                           [TARGETS[case.name]]))  # fmt: skip
    return rows


def lines(name: str, part: Part) -> list[str]:
    """A table for each case."""
    text = []
    for case in (case for case in CASES if case.name in part.data):
        figures: dict[str, dict[str, Any]] = part.data[case.name]
        fastest = min((f["seconds"] for f in figures.values() if f["agrees"] and f["seconds"]), default=None)
        text += [
            f"{case.title}: float64, until the gradient's largest entry is {case.gtol:g}. Milliseconds of a warm "
            "call, median (quartiles); 10 pairs in memory, of ours as many as `worthwhile_pairs` says; "
            "first call apart.",
            "",
            "| side | ms | of the fastest | evaluations | with gradient | gradient | above the lowest | compile s |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for side, f in figures.items():
            if f["missing"]:
                text.append(f"| {SIDES[side].title} | {f['missing']} | | | | | | |")
                continue
            low, high = f["quartiles"]
            mark = "" if f["agrees"] else " (not there)"
            cells = (
                SIDES[side].title + mark,
                f"{1e3 * f['seconds']:.3g} ({1e3 * low:.3g} to {1e3 * high:.3g})",
                number(ratio(f["seconds"], fastest)), str(f["evaluations"]), str(f["gradients"]),
                number(f["grad_norm"], 2), number(f["above"], 2), number(f["compile_seconds"], 2),
            )  # fmt: skip
            text.append("| " + " | ".join(cells) + " |")
        text.append("")
    return text
