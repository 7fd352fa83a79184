"""One side's process: reads a request, answers it, and holds one compiled case between requests.

`side_process` says how it is asked.
"""

import functools
import gc
import importlib
import sys
import time
from pathlib import Path
from typing import Any

from side_process import serve, turn

from kernel_bench.cases import Case, Form
from kernel_bench.job import Job

MODULES = {"torch": "torch_side", "torch_compile": "torch_side", "numpy": "array_side", "faiss": "array_side",
           "sklearn": "array_side"}  # fmt: skip
"""Where a side is written; all others are in `jax_side`."""


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
        """A turn with the prepared case: seconds of one call, and how many calls there were."""
        job = self.job
        if job is None:
            raise RuntimeError("time: expected a prepared case")
        return turn(job.call, seconds)

    def release(self) -> None:
        """Give the memory of the case back."""
        self.job = None
        gc.collect()


if __name__ == "__main__":
    serve(Worker(sys.argv[1]))
