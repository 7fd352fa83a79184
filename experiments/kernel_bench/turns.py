"""Processes that take turns: the sides of a case are prepared one after the other, then timed in rounds."""

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import side_process
from side_process import SideError, in_turns

from jax231.measure.timing import of_rounds
from kernel_bench import layers
from kernel_bench.cases import Case, Conv, ConvTranspose, Curvature, Form, Training
from kernel_bench.record import Figure, Record, Results, empty
from kernel_bench.sides import SideName, environment, serves

TOLERANCE, NETWORK_TOLERANCE = 1e-3, 3e-2
"""Largest relative error in norm, and largest share of labels that differ, with which two sides compute the same.

Rounding moves single units of a network across the kink of relu: the gradient of ResNet-20 in float32 was found 0.3 %
(JAX) and 0.6 % (PyTorch) from the one in float64, at the initial parameters.
"""

LOOP_PENALTY = 100
"""How much slower XLA's own gradients were found to run inside loops, where this decides whether to wait for one."""

START_LIMIT, PREPARE_LIMIT, TURN_LIMIT = 180.0, 240.0, 120.0
"""Seconds to wait for a process to say hello (kernels may be built first), to compile a case, and to time it."""


class Process(side_process.Process):
    """One side's process."""

    def __init__(self, side: SideName, interpreter: Path, exchange: Path):
        super().__init__(side, interpreter, "kernel_bench.worker", environment(side), exchange)


@dataclass(frozen=True)
class Pace:
    """Rounds, seconds of a turn, seconds between turns, and seconds that a side may spend on a case in one form."""

    rounds: int
    budget: float
    pause: float
    patience: float


def measure(
    case: Case, form: Form, processes: Mapping[SideName, Process], pace: Pace, exchange: Path, known: Results
) -> Record:
    """Measure a case on every side that has it.

    `known` are the results so far: a call that would take too long by them is left out and says so.
    """
    record = empty(case, form)
    for side in sorted((s for s in processes if serves(s, case, form)), key=_order):
        figure = record.sides[side] = Figure()
        if (expected := expected_seconds(side, case, form, known)) > pace.patience:
            figure.missing = f"left out: a call would take about {expected:.0f} s (see --patience)"
    tolerance = NETWORK_TOLERANCE if isinstance(case.work, Training | Curvature) else TOLERANCE
    repeats, revision = case.repeats(form), known.revision
    fill(record, (case, form, exchange), processes, pace, tolerance=tolerance, repeats=repeats, revision=revision)
    return record


def fill(
    record: Record,
    work: tuple[Any, ...],
    processes: Mapping[Any, side_process.Process],
    pace: Pace,
    *,
    tolerance: float,
    revision: str | None,
    repeats: int = 1,
    limit: float = PREPARE_LIMIT,
) -> None:
    """Prepare the `work` on the record's sides, compare what they computed with the first of them, time them in turns.

    Sides that are missing already are left alone. A call does `repeats` of what is timed; `limit` are the seconds that
    preparing may take.
    """
    rounds: dict[str, int] = {}
    reference: tuple[str, list[np.ndarray]] | None = None
    for side, figure in record.sides.items():
        if figure.missing:
            continue
        try:
            facts = processes[side].ask("prepare", *work, limit=limit + pace.patience)
        except SideError as error:
            figure.missing = str(error)
            continue
        outputs = facts["outputs"]
        if reference is None:
            reference = side, outputs
        else:
            figure.against, figure.error = reference[0], difference(outputs, reference[1])
            figure.agrees = figure.error <= tolerance
        figure.compile_seconds, figure.kernels, figure.calls = facts["compile"], facts["kernels"], 1
        figure.rounds = [facts["first"] / repeats]  # stands where there is no time for a second call
        rounds[side] = min(pace.rounds, int(pace.patience / facts["first"]) - 1)
    del reference

    turns = in_turns(processes, rounds, budget=pace.budget, pause=pace.pause, limit=TURN_LIMIT + pace.patience)
    for side, taken in turns.items():
        figure = record.sides[side]
        figure.rounds = [seconds / repeats for seconds in taken.seconds] or figure.rounds
        figure.calls, figure.missing = figure.calls + taken.calls, taken.failed
        if not figure.missing:
            figure.median, figure.spread = of_rounds(figure.rounds)
    for figure in record.sides.values():
        figure.measured, figure.revision = datetime.now(UTC).isoformat(timespec="seconds"), revision


def introduce(
    processes: MutableMapping[Any, Any], peers: Collection[str], results: Results, say: Callable[[str], None]
) -> None:
    """Ask the sides for machine and versions; those that have nothing to measure are ended, named and taken out."""
    for side in list(processes):
        try:
            facts = processes[side].ask("hello", limit=START_LIMIT)
            missing = facts.get("missing")
        except SideError as error:
            facts, missing = {}, str(error)
        if missing:
            if side in peers:
                missing += ": install the extra, pip install '.[peers]', or name an interpreter by --peers-python"
            say(f"{side} is left out: {missing}")
            results.missing[side] = missing
            processes.pop(side).close()
            continue
        results.device = facts.get("device", results.device)
        results.versions |= facts.get("versions", {})
        results.revision = facts.get("revision", results.revision)


def difference(outputs: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """The largest relative difference in norm of any of the results; of integers, the share that differs."""
    if [x.shape for x in outputs] != [x.shape for x in reference]:
        return float("inf")
    errors = []
    for x, y in zip(outputs, reference, strict=True):
        if np.issubdtype(y.dtype, np.integer):
            errors.append(float(np.mean(x != y)))
        else:
            scale = float(np.linalg.norm(y.ravel()))
            errors.append(float(np.linalg.norm((x - y).ravel())) / (scale or 1.0))
    return max(errors)


def expected_seconds(side: SideName, case: Case, form: Form, known: Results) -> float:
    """How long a call should take, by what the gradient alone took; 0 where that is not known."""
    alone = known.median(case.name, "gradient", side)
    if form not in ("scan", "vmap") or not alone:
        return 0.0
    slow = side == "xla" and form == "scan" and _convolves(case)
    return alone * case.repeats(form) * (LOOP_PENALTY if slow else 1)


def _convolves(case: Case) -> bool:
    match case.work:
        case Training(net):
            return any(isinstance(leaf.layer, layers.Conv) for leaf in layers.walk(net.layers, net.inputs))
        case Conv() | ConvTranspose():
            return True
    return False


def _order(side: SideName) -> int:
    """What others are compared with comes first."""
    order = ("torch", "sklearn", "xla", "plain", "compiled")
    return order.index(side) if side in order else len(order)
