"""One optimizer on one problem, and the curves of a run."""

import math
from typing import NamedTuple

from jax231.measure.summary import Number, Run
from jax231.optim import catalog

Key = tuple[str, str, float, int]
"""A lane's problem, optimizer, setting and seed."""


class Task(NamedTuple):
    """One optimizer on one problem: the settings to search, and the gradient-equivalents that a run may spend."""

    problem: str
    entry: catalog.Entry
    grid: tuple[float, ...]
    budget: float

    @property
    def name(self) -> str:
        """The optimizer's name."""
        return self.entry.name


class Winner(NamedTuple):
    """The setting to run alone, and the end of the grid on which it lies, if it does."""

    setting: float
    edge: str | None


def record_next(steps: int) -> int:
    """The step to record after `steps`: every step up to 20, then every tenth more."""
    return steps + max(1, steps // 10)


class Recorder:
    """Collects the points of a final run."""

    def __init__(self, task: Task, winner: Winner, seed: int):
        self._task, self._winner, self._seed = task, winner, seed
        self._points: list[tuple[int, float, float, float, float]] = []

    def add(self, steps: int, cost: float, seconds: float, loss: float, accuracy: float) -> None:
        """One point: where the run is, and the objective over the training split and test accuracy there."""
        self._points.append((steps, cost, seconds, loss, accuracy))

    def finish(self, status: str, counts: dict[str, Number], compile_seconds: float) -> Run:
        """The record of the run."""
        steps, cost, seconds, loss, accuracy = (list(column) for column in zip(*self._points, strict=True))
        finite = [value if math.isfinite(value) else None for value in loss]
        return Run(
            problem=self._task.problem,
            optimizer=self._task.name,
            setting=self._winner.setting,
            seed=self._seed,
            steps=steps,
            cost=cost,
            seconds=seconds,
            loss=finite,
            test_accuracy=accuracy,
            diverged=status == "diverged",
            status=status,
            edge=self._winner.edge,
            counts=counts,
            compile_seconds=compile_seconds,
        )
