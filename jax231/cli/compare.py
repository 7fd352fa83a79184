"""``jax231 compare``: the main job."""

import math
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from jax231.compare.config import Config
from jax231.measure.summary import Number

if TYPE_CHECKING:
    from jax231.compare.plan import Plan
    from jax231.measure.summary import Row, Spread

LEGEND = (
    "Medians over fresh seeds (ranges in the report). Cost and seconds: to a gap of 1 % to the best known loss, cost "
    "in gradients over the training split. <= and >= mark a setting on the edge of its range."
)
EXCHANGE = {
    "loss": "loss",
    "hvp": "Hessian-vector product",
    "ggnvp": "Gauss-Newton product",
    "hessian": "dense Hessian with its solution",
}


def compare(
    config: Annotated[Config, Parameter(name="*", consume_multiple=True, negative_iterable=())] = Config(),  # noqa: B008  immutable
    *,
    name: str | None = None,
    runs: Path = Path("runs"),
    data_dir: Path | None = None,
) -> None:
    """Compare optimizers on the same problems and write a report.

    Every optimizer gets the same starting points, data, budget and number of settings. A log-spaced search over step
    sizes (damping for second-order methods) chooses a setting on some seeds; the winner is run alone on fresh seeds,
    and those runs are reported: loss against steps, gradient-equivalents and seconds.

    Ctrl-C keeps what is finished; the same command goes on from there.

    Parameters
    ----------
    name
        Name of the run folder; default: compare-DATA.
    runs
        Folder that holds the run folders.
    data_dir
        Folder with the official files of the data sets; default: JAX231_DATA, else the user's cache.
    """
    from jax231.compare import study

    folder = runs / (name or f"compare-{config.data}")
    console, begin = Console(), time.monotonic()
    reports = all(find_spec(package) for package in ("plotly", "jinja2"))
    if not reports:
        console.print("No report.html will be made: that takes the extra, pip install '.[report]'.")
    with _progress(console) as watcher:
        study.run(config, folder, data_dir=data_dir, watcher=watcher, command=shlex.join(["jax231", *sys.argv[1:]]))
    _summary(console, folder)
    console.print(f"\n{LEGEND}\n")
    console.print(f"{time.monotonic() - begin:.0f} s; results in {folder}/", soft_wrap=True)
    if reports:
        console.print(f"report: {_write_report(folder).resolve().as_uri()}", soft_wrap=True)


def _write_report(folder: Path) -> Path:
    from jax231.report.page import write_report

    return write_report(folder)


class _Bars:
    """Draws a study's progress."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._task: TaskID | None = None

    def plan(self, plan: "Plan") -> None:
        console = self._progress.console
        if not plan.rows:
            console.print("Nothing is left to do: all runs of this comparison are on disk.")
            return
        table = Table(
            title=f"Plan: {plan.programs} programs to compile, about {plan.seconds:.0f} s in all",
            box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False,
        )  # fmt: skip
        for heading in ("problem", "optimizers"):
            table.add_column(heading, overflow="fold")
        for heading in ("programs", "lanes to search", "final runs", "budget", "seconds"):
            table.add_column(heading, justify="right")
        for row in plan.rows:
            counts = (str(row.programs), str(row.lanes), str(row.runs), f"{row.budget:g}", f"{row.seconds:.0f}")
            table.add_row(row.problem, " ".join(row.optimizers), *counts)
        console.print(table)
        console.print("Budget: gradients over the whole training split, or what costs as much.\n")

    def stage(self, title: str, total: Number) -> None:
        self._finish()
        self._task = self._progress.add_task(title, total=total)

    def advance(self, units: Number = 1) -> None:
        if self._task is not None:
            self._progress.advance(self._task, units)

    def note(self, text: str) -> None:
        self._progress.console.print(text)

    def _finish(self) -> None:
        if self._task is not None:
            done = self._progress.tasks[self._task]
            self._progress.update(self._task, completed=done.total)


@contextmanager
def _progress(console: Console) -> Iterator[_Bars]:
    columns = (
        TextColumn("{task.description:32}"), BarColumn(bar_width=20), TaskProgressColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        bars = _Bars(progress)
        yield bars
        bars._finish()


def _summary(console: Console, folder: Path) -> None:
    """The table of results, a block a problem, best first by what the 1 % target cost."""
    from jax231.compare.store import Store
    from jax231.measure.summary import summarize

    store = Store(folder)
    facts = store.study() or {"problems": {}, "optimizers": {}}
    for problem, rows in summarize(store.runs().values(), store.lanes().values()).items():
        title, rates = facts["problems"][problem]["title"], facts["problems"][problem]["rates"]
        exchange = ", ".join(f"{word} {rates[key]:.3g}" for key, word in EXCHANGE.items() if rates[key])
        table = Table(title=f"\n{title}", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
        table.add_column("optimizer", no_wrap=True)
        for heading in ("setting", "loss", "cost", "seconds", "test", "diverged"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*_cells(row))
        console.print(table)
        if exchange:
            console.print(f"[dim]one gradient {1e3 * rates['gradient_seconds']:.2g} ms; in gradients: {exchange}[/dim]")


def _cells(row: "Row") -> tuple[str, ...]:
    reach = row.reach[1e-2]
    return (
        row.optimizer,
        {"low": "<= ", "high": ">= ", None: ""}[row.edge] + f"{row.setting:.3g}",
        _median(row.final_loss, "{:.4g}"),
        _median(reach.cost, "{:.3g}"),
        _median(reach.seconds, "{:.2g}"),
        "-" if row.accuracy is None else _median(row.accuracy, "{:.1%}"),
        f"{row.diverged}/{row.seeds}",
    )


def _median(spread: "Spread", form: str) -> str:
    """The median, or a dash where most seeds failed."""
    return form.format(spread.median) if math.isfinite(spread.median) else "-"
