"""What a study is going to do: programs to compile, lanes to search, winners to run, and how long that should take."""

from typing import NamedTuple

from jax231.compare.costs import Rates
from jax231.compare.task import Task


class Row(NamedTuple):
    """One swept program of a problem, with what is left to do for it."""

    problem: str
    optimizers: tuple[str, ...]
    programs: int
    lanes: int
    runs: int
    budget: float
    seconds: float


class Plan(NamedTuple):
    """What is left to do, a row a group of optimizers that are searched together."""

    rows: tuple[Row, ...]

    @property
    def programs(self) -> int:
        """Compilations."""
        return sum(row.programs for row in self.rows)

    @property
    def seconds(self) -> float:
        """Expected seconds, compilation included."""
        return sum((row.seconds for row in self.rows), 0.0)


class Work(NamedTuple):
    """What is left to do for the tasks that one program searches: the search itself, and the tasks to run alone."""

    tasks: list[Task]
    search: bool
    alone: dict[str, list[int]]
    """The fresh seeds that are missing, by optimizer."""


COMPILE_SECONDS = 2.0
PARALLEL = 2
"""Programs that compile at the same time."""
OVERHEAD = 0.8
"""How a search's time compares with the gradients that it spends, lanes together; measured on the digits."""


def row(work: Work, seeds: int, rates: Rates, programs: int) -> Row:
    """The plan's line for `work`, whose compilations are `programs`."""
    tasks = work.tasks
    lanes = sum(len(task.grid) * seeds for task in tasks) if work.search else 0
    runs = sum(len(missing) for missing in work.alone.values())
    spent = max(tasks[0].budget, tasks[0].entry.steps * rates.hessian) * rates.gradient_seconds
    seconds = (lanes * OVERHEAD + runs) * spent + programs * COMPILE_SECONDS / PARALLEL
    return Row(tasks[0].problem, tuple(task.name for task in tasks), programs, lanes, runs, tasks[0].budget, seconds)
