"""The curves of a training run and its confusion matrix, as plotly figures in plain dictionaries.

Curves hold what was recorded; the page's script shows accuracies as errors on a logarithmic axis, and paints lines by
the series that ``trace.meta`` names.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from jax231.measure.inspection import Rates
from jax231.measure.summary import Number
from jax231.report import style
from jax231.report.training.read import Training
from jax231.report.training.words import SIGNS

SERIES = ("training", "validation", "test")
LOOKS = style.looks(dict.fromkeys(SERIES, 1))
NAMES = {"loss": "loss", "accuracy": "accuracy", "mean_iou": "mean IoU", "rate": "step size"}
"""Of the quantities that are drawn."""

SIDE = 440
"""Pixels of a side of the confusion matrix on paper."""

Curve = dict[str, Any]
Figure = dict[str, Any]


class Curves(dict[str, list[Curve]]):
    """By quantity, lines and points: series, part, x in epochs and y.

    Parts are "chunks", "epochs", "end" (a point) and "rate"; of several networks, "member" is one, named by `name`,
    "epochs" their mean, and "together" or "end" what they predict together.
    """


def curves(training: Training, rates: Rates | None) -> Curves:
    """All that was recorded over the run, against epochs.

    Means of training over an epoch or a chunk of steps lie in the middle of it, scores of a split where they were
    taken. Values that were not finite are left out. Of several networks there is each, their mean, and on other splits
    what they score together.
    """
    steps = training.facts.steps if training.facts is not None else 1
    seeds = [f"seed {training.config.get('seed', 0) + i}" for i in range(training.config.get("members", 1))]
    drawn, epochs = Curves(), training.epochs
    halfway, ends = [record["epoch"] - 0.5 for record in epochs], [record["epoch"] for record in epochs]
    for quantity in ("loss", "accuracy", "mean_iou"):
        lines = [
            *_members("training", halfway, epochs, quantity, seeds),
            _line("training", "epochs", halfway, epochs, quantity),
            *_held_out(ends, epochs, f"validation_{quantity}", seeds),
        ]
        if chunked(training):
            lines.insert(0, _line("training", "chunks", _middles(training.chunks, steps), training.chunks, quantity))
        if training.test is not None:
            end = [training.test["step"] / steps]
            lines += _members("test", end, [training.test], f"test_{quantity}", seeds)
            lines.append(_line("test", "end", end, [training.test], f"test_{quantity}"))
        found = [line for line in lines if line["x"]]
        if found:
            drawn[quantity] = found
    if rates is not None:
        x, y = (values.tolist() for values in rates)
        drawn["rate"] = [{"series": "training", "part": "rate", "x": x, "y": y}]
    return drawn


def chunked(training: Training) -> bool:
    """Whether the means over chunks of steps are drawn: not where they would lie among the lines of several members."""
    return len(training.chunks) > len(training.epochs) and training.config.get("members", 1) == 1


def _held_out(ends: Sequence[Number], epochs: list[dict[str, Any]], name: str, seeds: list[str]) -> list[Curve]:
    """The validation of one network, or of each of several, their mean, and of all together."""
    each = _members("validation", ends, epochs, name, seeds)
    if not each:
        return [_line("validation", "epochs", ends, epochs, name)]
    means = [record | {name: _mean(record.get(f"{name}_members"))} for record in epochs]
    return [
        *each,
        _line("validation", "epochs", ends, means, name),
        _line("validation", "together", ends, epochs, name),
    ]


def _members(
    series: str, places: Sequence[Number], records: list[dict[str, Any]], name: str, seeds: list[str]
) -> list[Curve]:
    """A line of each of several networks; none where there is one only. Snapshots are numbered."""
    count = max((len(record.get(f"{name}_members") or ()) for record in records), default=0)
    names = seeds if len(seeds) == count else [f"snapshot {i + 1} of {count}" for i in range(count)]
    lines = []
    for i, own_name in enumerate(names[:count]):
        own = [record | {name: (record.get(f"{name}_members") or [None] * count)[i]} for record in records]
        lines.append(_line(series, "member", places, own, name) | {"name": own_name})
    return lines


def _mean(values: Sequence[Number | None] | None) -> float | None:
    """None where a value is missing, as one that was not finite."""
    return None if not values or None in values else float(np.mean([value for value in values if value is not None]))


def _middles(chunks: list[dict[str, Any]], steps: int) -> list[float]:
    """Halfway through each chunk, in epochs; a chunk begins where the one before ended."""
    ends = [0, *(chunk["step"] for chunk in chunks)]
    return [(first + last) / 2 / steps for first, last in pairwise(ends)]


def _line(series: str, part: str, places: Sequence[Number], records: list[dict[str, Any]], name: str) -> Curve:
    points = [(x, r[name]) for x, r in zip(places, records, strict=True) if r.get(name) is not None]
    return {"series": series, "part": part, "x": [x for x, _ in points], "y": [y for _, y in points]}


def plotted(quantity: str, lines: list[Curve], end: Number) -> Figure:
    """The plotly figure of one quantity; the axis reaches to `end` epochs."""
    traces = []
    several = any(line["part"] == "member" for line in lines)
    for line in lines:
        look, part = LOOKS[line["series"]], line["part"]
        alone = len(line["x"]) == 1 and part in ("member", "end")
        points = part in ("epochs", "together") and len(line["x"]) <= 40
        faint = part in ("chunks", "member")
        whose = {"member": f", {line.get('name')}", "together": " together", "end": " together" * several}
        whose["epochs"] = ", mean of all" * several
        what = f"{line['series']} {NAMES[quantity]}{whose.get(part, '')}" if part != "rate" else NAMES[quantity]
        traces.append(
            {
                "x": [float(f"{x:.6g}") for x in line["x"]],
                "y": [float(f"{y:.6g}") for y in line["y"]],
                "mode": "markers" if alone else "lines+markers" if points else "lines",
                "line": {
                    "width": 1 if faint else 2,
                    "color": look.light,
                    "dash": "dash" if part == "together" else "solid",
                },
                "opacity": 0.4 if faint else 1,
                "marker": {"symbol": look.marker, "size": 11 if part == "end" else 6, "color": look.light},
                "cliponaxis": False,
                "hovertemplate": f"<b>{what}</b><br>%{{y:.4~g}} at epoch %{{x:.3~f}}<extra></extra>",
                "meta": {"series": line["series"]},
            }
        )
    layout = {
        "meta": {"quantity": quantity, "name": NAMES[quantity]},
        "xaxis": {"title": {"text": "epoch"}, "range": [0, 1.02 * end]},
        "yaxis": {},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "margin": {"l": 50, "r": 14, "t": 28, "b": 46},
    }
    return {"data": traces, "layout": layout}


def heat(matrix: Integer[np.ndarray, "k k"], names: list[str]) -> Figure:
    """A confusion matrix too large for a table: the share of each true class (row) by predicted class."""
    shares = row_shares(matrix)
    trace = {
        "type": "heatmap",
        "z": np.round(np.sqrt(shares), 4).tolist(),  # the root shows the rare ones
        "customdata": matrix.tolist(),
        "x": list(range(len(names))),
        "y": list(range(len(names))),
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "text": [[f"{true} taken for {other}" for other in names] for true in names],
        "hovertemplate": "%{text}: %{customdata}<extra></extra>",
        "meta": {"series": "heat"},
    }
    short = [SIGNS.get(name, name) for name in names]
    axis = {"tickvals": list(range(len(names))), "ticktext": short, "tickfont": {"size": 9}}
    layout = {
        "meta": {"quantity": "confusion", "name": "true class (row), predicted class (column)", "side": SIDE},
        "xaxis": {**axis, "tickangle": 0 if max(map(len, short)) <= 3 else -90},
        "yaxis": {**axis, "autorange": "reversed"},
        "showlegend": False,
        "dragmode": False,
        "margin": {"l": 50, "r": 14, "t": 28, "b": 46},
    }
    return {"data": [trace], "layout": layout}


def row_shares(matrix: Integer[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """Each entry over the sum of its row, 0 where that is 0."""
    return matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
