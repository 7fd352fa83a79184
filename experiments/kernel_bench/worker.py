"""One side's process: reads a request, answers it, and holds one compiled case between requests.

Requests and answers are pickled: ``(name of a function below, its arguments)`` in, ``("done", result)`` or ``("failed",
text)`` out. What libraries print goes to standard error.
"""

import functools
import gc
import importlib
import os
import pickle
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from kernel_bench.cases import Case, Form
from kernel_bench.job import Job

MODULES = {"torch": "torch_side", "torch_compile": "torch_side", "numpy": "array_side", "faiss": "array_side",
           "sklearn": "array_side"}  # fmt: skip
"""Where a side is written; all others are in `jax_side`."""

LIMIT = 100
"""Calls of one turn at most."""


class Worker:
    """The functions that can be asked for."""

    def __init__(self, side: str):
        self.side = side
        self.job: Job | None = None

    @functools.cached_property
    def module(self) -> Any:
        """How the side computes; ImportError where its framework is missing."""
        return importlib.import_module(f"kernel_bench.{MODULES.get(self.side, 'jax_side')}")

    def hello(self) -> dict[str, Any]:
        """Versions, and `missing` where the side has nothing to measure."""
        return self.module.hello(self.side)

    def prepare(self, case: Case, form: Form, exchange: Path) -> dict[str, Any]:
        """Compile a case and run it once."""
        self.release()
        begin = time.perf_counter()
        self.job = self.module.build(self.side, case, form, exchange)
        ready = time.perf_counter()
        result = self.job.call()
        first = time.perf_counter() - ready
        return {
            "first": first,
            "build": ready - begin,
            "compile": self.job.compile_seconds,
            "kernels": list(self.job.kernels),
            "outputs": self.job.read(result),
        }

    def time(self, seconds: float) -> tuple[float, int]:
        """The median of the calls that fit into `seconds`, at least one, and how many they were.

        One call before them is not counted where there is time: the caches are another process's, the threads asleep.
        """
        job = self.job
        if job is None:
            raise RuntimeError("time: expected a prepared case")
        begin = time.perf_counter()
        job.call()
        times = [time.perf_counter() - begin]
        if times[0] < seconds / 2:
            times.clear()
        begin = time.perf_counter()
        while not times or (len(times) < LIMIT and time.perf_counter() - begin + times[-1] < seconds):
            start = time.perf_counter()
            job.call()
            times.append(time.perf_counter() - start)
        return median(times), len(times)

    def release(self) -> None:
        """Give the memory of the case back."""
        self.job = None
        gc.collect()


def main(side: str) -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker, requests = Worker(side), sys.stdin.buffer
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = "done", getattr(worker, name)(*arguments)
        except Exception as error:  # whatever a framework raises is this side's result for the case
            answer = "failed", f"{type(error).__name__}: {error}"
        pickle.dump(answer, answers, protocol=5)
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
