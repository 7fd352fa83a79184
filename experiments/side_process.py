"""A process of its own for each side of a comparison: asked by pickled requests, so that sides do not disturb another.

Requests and answers are pickled: ``(name of a method of the worker, its arguments)`` to standard input, ``("done",
result)`` or ``("failed", text)`` back. What libraries print goes to standard error. Only the standard library is
imported here, so that a side's process loads its own framework and no other.
"""

import os
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

FOLDER = Path(__file__).resolve().parent

CALLS = 100
"""Calls of one turn at most."""

Side = TypeVar("Side", bound=str)
"""The names of the sides of a comparison."""


class SideError(Exception):
    """A side that cannot do what it was asked for, in its own words."""


class Process:
    """One side's process; it is started when it is first asked, and again after it was lost."""

    def __init__(self, side: str, interpreter: Path, module: str, environment: Mapping[str, str], exchange: Path):
        self.side, self.interpreter, self.log = side, interpreter, exchange / f"{side}.log"
        self._module, self._environment = module, environment
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, name: str, *arguments: Any, limit: float = 120.0) -> Any:
        """The answer of a method of the worker.

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
                    [str(self.interpreter), "-m", self._module, self.side],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=dict(self._environment),
                    start_new_session=True,
                )
        return self._process


@dataclass
class Turns:
    """What a side's turns took: seconds of a call, a number a turn; how many calls they were; why they ended early."""

    seconds: list[float] = field(default_factory=list)
    calls: int = 0
    failed: str | None = None


def in_turns(
    processes: Mapping[Side, Process], rounds: Mapping[Side, int], *, budget: float, pause: float, limit: float
) -> dict[Side, Turns]:
    """Time what each side has prepared, in so many rounds, each beginning with another side; then release it.

    A turn lasts about `budget` seconds and at most `limit`; `pause` seconds pass between turns.
    """
    taken = {side: Turns() for side in rounds}
    for number in range(max(rounds.values(), default=0)):
        order = list(rounds)
        for side in order[number % len(order) :] + order[: number % len(order)]:
            turns = taken[side]
            if number >= rounds[side] or turns.failed:
                continue
            time.sleep(pause)
            try:
                seconds, calls = processes[side].ask("time", budget, limit=limit)
            except SideError as error:
                turns.failed = str(error)
                continue
            turns.seconds.append(seconds)
            turns.calls += calls
    for side in rounds:
        with suppress(SideError):
            processes[side].ask("release")
    return taken


def environment(**variables: str) -> dict[str, str]:
    """The variables of a side's process: it computes on the CPU, with as many threads as there are cores.

    New arrays come in huge pages, where the C library can ask for them: in small ones the first touch of an array can
    take five times as long as the kernel that fills it, on every side alike.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(cores_here()))
    inherited = {name: value for name, value in os.environ.items() if name != "JAX231_KERNELS"}
    pages = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    return {**pages, **inherited, **threads, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(FOLDER), **variables}


def cores_here() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve(worker: Any) -> None:
    """Answer requests for methods of `worker` until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = "done", getattr(worker, name)(*arguments)
        except Exception as error:  # whatever a framework raises is this side's result
            answer = "failed", f"{type(error).__name__}: {error}"
        pickle.dump(answer, answers, protocol=5)
        answers.flush()


def turn(call: Callable[[], Any], seconds: float) -> tuple[float, int]:
    """The median of the calls that fit into `seconds`, at least one, and how many they were.

    One call before them is not counted where there is time: the caches are another process's, the threads asleep.
    """
    begin = time.perf_counter()
    call()
    times = [time.perf_counter() - begin]
    if times[0] < seconds / 2:
        times.clear()
    begin = time.perf_counter()
    while not times or (len(times) < CALLS and time.perf_counter() - begin + times[-1] < seconds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times), len(times)
