"""What a study is going to do: programs to compile, lanes to search, winners to run, and how long that should take."""

from typing import NamedTuple

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


COMPILE_SECONDS = {1: 1.0, 2: 2.5}
PARALLEL = 2
"""Programs that compile at the same time."""
OVERHEAD = {1: 2.0, 2: 1.2}
"""How much longer runs of first and second order take than the gradients that they spend; measured on digits."""


def row(work: Work, seeds: int, gradient_seconds: float) -> Row:
    """The plan's line for `work`; `gradient_seconds` is what one gradient-equivalent takes."""
    tasks = work.tasks
    order = tasks[0].entry.order
    lanes = sum(len(task.grid) * seeds for task in tasks) if work.search else 0
    runs = sum(len(missing) for missing in work.alone.values())
    alone = sum(bool(missing) for missing in work.alone.values())
    programs = alone + work.search if order == 1 else int(work.search or alone > 0)
    spent = (lanes + runs) * tasks[0].budget * gradient_seconds * OVERHEAD[order]
    seconds = spent + programs * COMPILE_SECONDS[order] / PARALLEL
    return Row(tasks[0].problem, tuple(task.name for task in tasks), programs, lanes, runs, tasks[0].budget, seconds)
