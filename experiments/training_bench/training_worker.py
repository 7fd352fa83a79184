"""One side's process of `bench_training`: as `kernel_bench.worker`, with training for its cases."""

import functools
import importlib
import sys
from typing import Any

from kernel_bench import worker
from side_process import serve


class Worker(worker.Worker):
    """The functions that can be asked for."""

    @functools.cached_property
    def module(self) -> Any:
        """How the side computes; ImportError where its framework is missing."""
        return importlib.import_module(f"training_bench.{'jax' if self.side == 'jax231' else 'torch'}_side")


if __name__ == "__main__":
    serve(Worker(sys.argv[1]))
