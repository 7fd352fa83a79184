"""One side's process: it minimises what it is asked to and holds one compiled run between requests.

`side_process` says how it is asked.
"""

import gc
import importlib
import sys
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from side_process import serve, turn

from optimizer_bench import cases
from optimizer_bench.cases import Case
from optimizer_bench.sides import SIDES


class Worker:
    """The functions that can be asked for."""

    def __init__(self, side: str):
        self.side = side
        self._run: Callable[[], Any] | None = None

    def hello(self) -> dict[str, Any]:
        """Machine and versions, and `missing` where the package is not installed."""
        package = SIDES[self.side].package if self.side in SIDES else "jax231"
        if find_spec(package) is None:
            return {"missing": f"{package} is not installed"}
        if self.side == "torch":
            return {"versions": {"torch": metadata.version("torch")}}
        from jax231.measure import machine

        versions = machine.versions() | {package: metadata.version(package)}
        return {"device": machine.device(), "versions": versions, "revision": machine.revision()}

    def measure(self, part: str, quick: bool, checkpoints: str) -> dict[str, Any]:
        """Everything that a part of jax231 alone measures; `checkpoints` is a folder for what may be interrupted."""
        return importlib.import_module(f"optimizer_bench.{part}").measure(quick, checkpoints)

    def solve(self, number: int, gtol: float, steps: int) -> Any:
        """The end of a run on a test problem (its place in the list), with what it took."""
        from optimizer_bench import minimisers, more_garbow_hillstrom, solving

        problem, limits = more_garbow_hillstrom.PROBLEMS[number], minimisers.Limits(gtol, steps)
        return solving.solve(problem, self.side, limits)

    def prepare_problem(self, number: int, gtol: float, steps: int) -> dict[str, Any]:
        """Compile the run on a test problem, and run it once."""
        from optimizer_bench import minimisers, more_garbow_hillstrom

        problem = more_garbow_hillstrom.PROBLEMS[number]
        limits = minimisers.Limits(gtol, steps)
        return self._ready(self._compiled(problem.objective, limits, (), problem.start))[0]

    def prepare(self, case: Case, steps: int) -> dict[str, Any]:
        """Count a run's evaluations, compile it, and run it once more."""
        self.release()
        if self.side == "torch":
            from optimizer_bench import torch_side

            facts, end = self._ready(torch_side.prepare(case, case.gtol, steps))
            return {**facts, "x": end["x"], "evaluations": end["evaluations"], "gradients": end["evaluations"]}
        import jax
        import numpy as np

        from optimizer_bench import counted, minimisers, objectives

        fun, limits = objectives.objective(case), minimisers.Limits(case.gtol, steps)
        data, start = tuple(map(jax.device_put, cases.data(case))), cases.start(case)
        watched, log = counted.counted(fun)
        self._compiled(watched, limits, data, start)()
        jax.effects_barrier()
        facts, end = self._ready(self._compiled(fun, limits, data, start))
        return {**facts, "x": np.asarray(end.x), "evaluations": len(log.values), "gradients": log.gradients}

    def time(self, seconds: float) -> tuple[float, int]:
        """A turn with what is prepared: seconds of one call, and how many calls there were."""
        if self._run is None:
            raise RuntimeError("time: expected a prepared case")
        return turn(self._run, seconds)

    def release(self) -> None:
        """Give the memory of the case back."""
        self._run = None
        gc.collect()

    def _compiled(self, fun: Any, limits: Any, data: tuple[Any, ...], start: Any) -> Callable[[], Any]:
        import jax

        from optimizer_bench import minimisers

        run = minimisers.MINIMISERS[self.side].prepare(fun, limits, data)
        return lambda: jax.block_until_ready(run(start))

    def _ready(self, run: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
        """The first call's seconds beyond the second's are those of compilation."""
        taken, end = [], None
        for _ in range(2):
            begin = time.perf_counter()
            end = run()
            taken.append(time.perf_counter() - begin)
        self._run = run
        return {"first": taken[1], "compile": max(taken[0] - taken[1], 0.0)}, end


if __name__ == "__main__":
    serve(Worker(sys.argv[1]))
