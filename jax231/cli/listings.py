"""The commands that list what there is: optimizers, problems, models."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter
from rich import box
from rich.console import Console
from rich.table import Table

from jax231.core.checks import require

if TYPE_CHECKING:
    from jax231.models.zoo import Entry


def show(rows: Sequence[dict[str, Any]], columns: dict[str, str], *, json: bool, title: str) -> None:
    """Print rows as a table with `columns` (key: heading), or as JSON with all their keys."""
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows)).decode() + "\n")
        return
    console = Console()
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    longest = max((len(str(row["name"])) for row in rows if "name" in row), default=0)
    for key, heading in columns.items():  # titles and the last column wrap, so that names stay whole
        wraps = key in ("title", list(columns)[-1])
        least, style = (longest, "bold") if key == "name" else (None, None)
        table.add_column(heading, overflow="fold", no_wrap=not wraps, min_width=least, style=style)
    for row in rows:
        table.add_row(*("" if row[key] is None else str(row[key]) for key in columns))
    console.print(table)


def optimizers(*, json: bool = False, stock: Annotated[bool, Parameter(name=["--all", "-a"])] = False) -> None:
    """List the optimizers: order, what is searched, memory, when to use them and what they need.

    Parameters
    ----------
    json
        Print JSON.
    stock
        List the other optimizers of Optax too, which are built by name.
    """
    from jax231.optim import catalog, stock_table

    rows = [
        {
            **{
                field: getattr(entry, field)
                for field in ("name", "title", "order", "setting", "memory", "when", "source", "needs", "limit")
            },
            "low": entry.space[0],
            "high": entry.space[1],
            "batch": entry.batch,
            "default": entry.usual,
            "searched": f"{entry.setting}\n{entry.space[0]:g} .. {entry.space[1]:g}\ndefault {entry.usual:g}",
            "advice": entry.when + (f" (needs {', '.join(entry.needs)})" if entry.needs else ""),
        }
        for entry in catalog.ENTRIES
    ]
    others = [
        {
            **{field: getattr(row, field) for field in ("name", "title", "source", "needs")},
            "order": 1,
            "setting": row.rate,
            "advice": row.title + (f" (needs {', '.join(row.needs)})" if row.needs else ""),
        }
        for row in stock_table.STOCK
    ]
    columns = {
        "name": "name", "order": "order", "searched": "searched", "memory": "memory", "advice": "when to use it",
    }  # fmt: skip
    legend = "memory in copies of the n parameters; m pairs of L-BFGS, r residuals, f Kronecker factors"
    if json:
        show([*rows, *(others if stock else [])], columns, json=True, title="")
        return
    show(rows, columns, json=False, title=f"Optimizers ({legend})")
    if stock:
        title = "Other optimizers of Optax: jax231.optim.stock.stock(name)(number)"
        show(others, {"name": "name", "setting": "number", "advice": "what it is"}, json=False, title=title)
    else:
        print(f"{len(others)} others of Optax are built by name: jax231 optimizers --all lists them.")


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


def _model_names(_: object) -> tuple[str, ...]:
    from jax231.models import zoo

    return zoo.NAMES


def models(
    name: Annotated[str | None, Parameter(completer=_model_names)] = None,
    /,
    *,
    shape: str | None = None,
    classes: int | None = None,
    figure: Path | None = None,
    json: bool = False,
) -> None:
    """List the models of the course, or with a NAME the layers of one.

    Of one model: output shapes, parameters, multiplications with weights, memory of activations, and how much of the
    image an output sees, at the paper's size, for one example.

    Parameters
    ----------
    name
        One of the listed names.
    shape
        Other inputs than the paper's, for instance 96x96x3.
    classes
        Other classes than the paper's.
    figure
        Also draw the network into this .png or .svg file.
    json
        Print JSON.
    """
    from jax231.models import zoo

    given = {"shape": shape, "classes": classes, "figure": figure}
    if name is not None:
        entry = zoo.entry(name)
        sizes = _sizes(shape, entry), classes or entry.classes
        require(sizes[1] >= 1, "models", "at least one class", classes=classes)
        return layers(entry, *sizes, figure=figure, json=json)
    unused = [f"--{option}" for option, value in given.items() if value is not None]
    require(not unused, "models", f"the NAME of a model with {', '.join(unused)}", name=name)
    rows = [
        {
            "name": entry.name,
            "title": entry.title,
            "input": " x ".join(map(str, entry.shape)),
            "loss": entry.loss,
            "start": f"{entry.start} = {entry.expected_start(entry.classes):.3g}" if entry.start else "",
            "source": entry.source,
        }
        for entry in zoo.ENTRIES
    ]
    columns = {
        "name": "name", "title": "model", "input": "input", "start": "expected start",
    }  # fmt: skip
    return show(rows, columns, json=json, title="Models (`jax231 models NAME`: the layers of one)")


def _sizes(shape: str | None, entry: "Entry") -> tuple[int, ...]:
    """The numbers of "96x96x3" or "96,96,3"."""
    if shape is None:
        return entry.shape
    parts = re.split("[x,]", shape)
    whole = all(part.isdecimal() and int(part) >= 1 for part in parts) and len(parts) == len(entry.shape)
    require(whole, "models", f"a shape like {'x'.join(map(str, entry.shape))}", shape=shape)
    return tuple(map(int, parts))


def layers(entry: "Entry", shape: tuple[int, ...], classes: int, *, figure: Path | None, json: bool) -> None:
    """The layer-by-layer table of a model of the zoo, and its picture."""
    from jax231.models import summary

    found = summary.of_entry(entry, shape, classes)
    rows = [
        {
            "name": row.name,
            "kind": row.kind,
            "output": " x ".join(map(str, row.output or ())),
            "parameters": row.parameters,
            "macs": row.macs,
            "memory": row.memory,
            "sees": "" if row.field is None else " x ".join(str(axis.size) for axis in row.field),
        }
        for row in found.rows
    ]
    columns = {
        "name": "layer", "kind": "kind", "output": "output", "parameters": "parameters", "macs": "multiplications",
        "memory": "bytes", "sees": "sees",
    }  # fmt: skip
    total = f"{found.parameters:,} parameters, {found.macs:,} multiplications, {found.memory:,} bytes of activations"
    show(rows, columns, json=json, title=f"{entry.title}: {total}")
    if figure is not None:
        from jax231.models.graph import graph
        from jax231.report.network import write_network

        drawn, said = (
            graph(entry.constructor(shape, classes), summary.inputs_of(entry, shape)),
            "x".join(map(str, shape)),
        )
        write_network(drawn.calls, drawn.blocks, figure, title=entry.title, inputs=said)
        Console(stderr=json).print(f"figure: {figure}", soft_wrap=True)
