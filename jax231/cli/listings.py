"""The commands that list what there is: optimizers, problems, models."""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table


def show(rows: Sequence[dict[str, Any]], columns: dict[str, str], *, json: bool, title: str) -> None:
    """Print rows as a table with `columns` (key: heading), or as JSON with all their keys."""
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows)).decode() + "\n")
        return
    console = Console()
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for key, heading in columns.items():  # only the last column wraps, so that names stay whole
        last = key == list(columns)[-1]
        table.add_column(heading, overflow="fold", no_wrap=not last, style="bold" if key == "name" else None)
    for row in rows:
        table.add_row(*("" if row[key] is None else str(row[key]) for key in columns))
    console.print(table)


def optimizers(*, json: bool = False) -> None:
    """List the optimizers: order, what is searched, memory, when to use them.

    Parameters
    ----------
    json
        Print JSON.
    """
    from jax231.optim import catalog

    rows = [
        {
            **{
                field: getattr(entry, field)
                for field in ("name", "title", "order", "setting", "memory", "when", "source")
            },
            "low": entry.space[0],
            "high": entry.space[1],
            "batch": entry.batch,
            "limit": entry.limit,
            "searched": f"{entry.setting} {entry.space[0]:g} .. {entry.space[1]:g}",
        }
        for entry in catalog.ENTRIES
    ]
    columns = {
        "name": "name", "order": "order", "searched": "searched", "memory": "memory", "when": "when to use it",
    }  # fmt: skip
    show(rows, columns, json=json, title="Optimizers (memory in copies of the n parameters, m pairs for L-BFGS)")


def problems(*, json: bool = False) -> None:
    """List the problems of `compare`: model, objective, budget.

    Parameters
    ----------
    json
        Print JSON.
    """
    from jax231.compare import problems

    rows = [
        {
            "name": entry.name,
            "title": entry.title,
            "objective": entry.formula,
            "convex": "yes" if entry.convex else "no",
            "budget": entry.budget,
        }
        for entry in problems.ENTRIES
    ]
    columns = {"name": "name", "title": "model", "objective": "objective", "convex": "convex", "budget": "budget"}
    show(rows, columns, json=json, title="Problems (budget of a run on the digits, in gradient-equivalents)")


def models(*, json: bool = False) -> None:
    """List the models: architecture, loss, expected start loss, parameters on the digits.

    Parameters
    ----------
    json
        Print JSON.
    """
    import jax

    from jax231.core import tree
    from jax231.models import zoo

    rows = []
    for entry in zoo.ENTRIES:
        params, _ = jax.eval_shape(entry.build((8, 8, 1), 10).init, jax.random.key(0))
        rows.append(
            {
                "name": entry.name,
                "title": entry.title,
                "loss": entry.loss,
                "start": f"{entry.start} = {entry.expected_start(10):.3g}",
                "parameters": tree.size(params),
                "source": entry.source,
            }
        )
    columns = {
        "name": "name", "title": "model", "loss": "loss", "start": "expected start (k = 10)",
        "parameters": "parameters (8x8)", "source": "course",
    }  # fmt: skip
    show(rows, columns, json=json, title="Models")
