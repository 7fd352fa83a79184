"""One side's process of `bench_zoo`: as `kernel_bench.worker`, with networks for its cases."""

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
        return importlib.import_module(f"zoo_bench.{'torch' if self.side == 'torch' else 'jax'}_side")


if __name__ == "__main__":
    serve(Worker(sys.argv[1]))
