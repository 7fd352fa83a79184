"""Processes that take turns: the sides of a case are prepared one after the other, then timed in rounds."""

import pickle
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from jax231.measure.timing import of_rounds
from kernel_bench import layers
from kernel_bench.cases import Case, Conv, ConvTranspose, Curvature, Form, Training
from kernel_bench.record import Figure, Record, Results, empty
from kernel_bench.sides import SideName, environment, serves

PATH = Path(__file__).resolve().parents[1]

TOLERANCE, NETWORK_TOLERANCE = 1e-3, 3e-2
"""Largest relative error in norm, and largest share of labels that differ, with which two sides compute the same.

Rounding moves single units of a network across the kink of relu: the gradient of ResNet-20 in float32 was found 0.3 %
(JAX) and 0.6 % (PyTorch) from the one in float64, at the initial parameters.
"""

LOOP_PENALTY = 100
"""How much slower XLA's own gradients were found to run inside loops, where this decides whether to wait for one."""

START_LIMIT, PREPARE_LIMIT, TURN_LIMIT = 180.0, 240.0, 120.0
"""Seconds to wait for a process to say hello (kernels may be built first), to compile a case, and to time it."""


class SideError(Exception):
    """A side that cannot do what it was asked for, in its own words."""


class Process:
    """One side's process; it is started when it is first asked, and again after it was lost."""

    def __init__(self, side: SideName, interpreter: Path, exchange: Path):
        self.side, self.interpreter, self.log = side, interpreter, exchange / f"{side}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, name: str, *arguments: Any, limit: float = TURN_LIMIT) -> Any:
        """The answer of a function of the worker.

        Raises: SideError for one that failed, a process that ended, and an answer that took longer than `limit`
                seconds; the process is ended then.
        """
        try:
            process = self._running()
        except OSError as error:
            raise SideError(f"{self.interpreter}: {error.strerror}") from error
        requests, answers = process.stdin, process.stdout
        assert requests is not None  # both are pipes
        assert answers is not None
        try:
            pickle.dump((name, arguments), requests, protocol=5)
            requests.flush()
            if not select.select([answers], [], [], limit)[0]:
                self.close()
                raise SideError(f"no answer within {limit:.0f} s")
            outcome, result = pickle.load(answers)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            code = process.wait()
            self.close()
            said = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise SideError(": ".join([f"the process ended with code {code}", *said])) from None
        if outcome == "failed":
            raise SideError(result)
        return result

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            with self._process:  # waits, and closes the pipes
                self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # A process group of its own: Ctrl-C is for the caller, who ends the processes.
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [str(self.interpreter), "-m", "kernel_bench.worker", self.side],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment(self.side, str(PATH)),
                    start_new_session=True,
                )
        return self._process


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
    """Prepare a case on every side that has it, compare what they computed, then time them in turns.

    `known` are the results so far: a call that would take too long by them is left out and says so.
    """
    record = empty(case, form)
    repeats = case.repeats(form)
    tolerance = NETWORK_TOLERANCE if isinstance(case.work, Training | Curvature) else TOLERANCE
    rounds: dict[SideName, int] = {}
    reference: tuple[str, list[np.ndarray]] | None = None
    for side in sorted((s for s in processes if serves(s, case, form)), key=_order):
        figure = record.sides[side] = Figure()
        if (expected := expected_seconds(side, case, form, known)) > pace.patience:
            figure.missing = f"left out: a call would take about {expected:.0f} s (see --patience)"
            continue
        try:
            facts = processes[side].ask("prepare", case, form, exchange, limit=PREPARE_LIMIT + pace.patience)
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

    turn: dict[SideName, list[float]] = {side: [] for side in rounds}
    for number in range(max(rounds.values(), default=0)):
        order = list(turn)
        for side in order[number % len(order) :] + order[: number % len(order)]:
            figure = record.sides[side]
            if number >= rounds[side] or figure.missing:
                continue
            time.sleep(pace.pause)
            try:
                seconds, calls = processes[side].ask("time", pace.budget, limit=TURN_LIMIT + pace.patience)
            except SideError as error:
                figure.missing = str(error)
                continue
            turn[side].append(seconds / repeats)
            figure.calls += calls
    for side in rounds:
        figure = record.sides[side]
        figure.rounds = turn[side] or figure.rounds
        if not figure.missing:
            figure.median, figure.spread = of_rounds(figure.rounds)
            with suppress(SideError):
                processes[side].ask("release")
    for figure in record.sides.values():
        figure.measured, figure.revision = datetime.now(UTC).isoformat(timespec="seconds"), known.revision
    return record


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
