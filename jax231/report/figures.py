"""Plotly figures as plain dictionaries: progress of the final runs, sensitivity of the sweep.

Traces carry losses; the page's script turns them into relative gaps with the facts in ``layout.meta`` (an affine map,
so medians and ranges commute with it), clips them to what is drawn, and paints them for a light or dark page or for
paper. ``trace.meta`` says whose trace it is and which part.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from jax231.measure.summary import TAUS, Lane, Row, Run, Scale, as_losses, curve, final_loss, spread
from jax231.report.read import Optimizer
from jax231.report.style import Look
from jax231.report.words import label

CEILING = 4.0  # relative gaps are drawn up to here: a diverged run stops near 3
LOWEST = 1e-6  # and down to here at most: about the resolution of a float32 loss
AXES = {"steps": "steps", "cost": "gradient-equivalents", "seconds": "seconds"}

Figure = dict[str, Any]


def floor(scale: Scale, runs: Sequence[Run]) -> float:
    """The lowest relative gap drawn for a problem: the decade under its final gaps, within 1e-6 and 1e-4."""
    gaps = as_losses(scale.gap([final_loss(run) for run in runs]))
    least = min((gap for gap in gaps if 0 < gap < math.inf), default=1e-4)
    return float(np.clip(10.0 ** math.floor(math.log10(least)), LOWEST, 1e-4))


def progress(
    runs: Sequence[Run], measure: str, scale: Scale, looks: Mapping[str, Look], optimizers: Mapping[str, Optimizer]
) -> Figure:
    """Loss against `measure`: a median line with its range for every optimizer, a cross where a run diverged."""
    positive = [x for run in runs for x in getattr(run, measure) if x > 0]
    left = 0.8 * min(positive, default=0.1)
    traces = []
    for name, look in looks.items():
        mine = [run for run in runs if run.optimizer == name]
        if mine:
            traces += _band(mine, measure, left, scale, look, escape(optimizers[name].title))
    right = max(positive, default=1.0)
    axis = {"title": {"text": AXES[measure]}, "type": "log", "range": [math.log10(left), math.log10(right) + 0.03]}
    return {"data": traces, "layout": _layout(scale, axis, runs)}


def _band(runs: Sequence[Run], measure: str, left: float, scale: Scale, look: Look, title: str) -> list[Figure]:
    line = curve(runs, measure)
    ceiling = scale.target(CEILING)
    alive = int(np.argmax(np.isinf(line.low))) if np.isinf(line.low).any() else len(line.x)
    steady = int(np.argmax(np.isinf(line.median))) if np.isinf(line.median).any() else len(line.x)
    x = np.maximum(line.x, left)
    name = runs[0].optimizer
    edge: Figure = {"mode": "lines", "hoverinfo": "skip", "line": {"width": 0, "shape": "hv", "color": look.light}}
    hover = f"<b>{title}</b><br>%{{y:.3~g}} at %{{x:.3~g}} {AXES[measure]}<extra></extra>"
    traces: list[Figure] = [
        {**edge, "x": _digits(x[:alive]), "y": _digits(line.low[:alive]), "meta": {"optimizer": name, "part": "low"}},
        {
            **edge,
            "x": _digits(x[:alive]),
            "y": _digits(np.minimum(line.high, ceiling)[:alive]),
            "fill": "tonexty",
            "meta": {"optimizer": name, "part": "high"},
        },
        {
            "x": _digits(x[:steady]),
            "y": _digits(line.median[:steady]),
            "mode": "lines+markers",
            "line": {"width": look.width, "dash": look.dash, "shape": "hv", "color": look.light},
            "marker": {"symbol": look.marker, "size": 7, "maxdisplayed": 7, "color": look.light},
            "hovertemplate": hover,
            "name": title,
            "meta": {"optimizer": name, "part": "median"},
        },
    ]
    lost = [run for run in runs if run.diverged]
    if lost:
        traces.append(
            {
                "x": _digits(np.array([max(getattr(run, measure)[-1], left) for run in lost])),
                "y": _digits(np.array([last_finite(run, ceiling) for run in lost])),
                "mode": "markers",
                "marker": {"symbol": "x", "size": 10, "color": look.light},
                "cliponaxis": False,
                "hovertemplate": f"<b>{title}</b><br>diverged at %{{x:.3~g}} {AXES[measure]}<extra></extra>",
                "meta": {"optimizer": name, "part": "diverged"},
            }
        )
    return traces


def last_finite(run: Run, ceiling: float) -> float:
    """The last finite loss of a run, at most `ceiling`."""
    losses = as_losses(run.loss)
    finite = losses[np.isfinite(losses)]
    return min(float(finite[-1]), ceiling) if len(finite) else ceiling


def sensitivity(
    lanes: Sequence[Lane],
    rows: Sequence[Row],
    scale: Scale,
    lowest: float,
    looks: Mapping[str, Look],
    optimizers: Mapping[str, Optimizer],
    setting: str,
) -> Figure | None:
    """Final loss of the sweep against `setting` ("step size" or "damping"): every seed a dot, a line through medians,
    a ring around the setting chosen, diverged runs as crosses at the top; None where no lane has this setting.
    """
    shown = [lane for lane in lanes if optimizers[lane.optimizer].setting == setting]
    if not shown:
        return None
    positive = [float(lane.setting) for lane in shown if lane.setting > 0]
    zero = min(positive, default=1.0) / 10  # where a setting of 0 is drawn on the log axis
    chosen = {row.optimizer: row.setting for row in rows}
    traces = []
    for name, look in looks.items():
        mine = [lane for lane in shown if lane.optimizer == name]
        if mine:
            traces += _valley(mine, chosen.get(name), zero, scale, look, escape(optimizers[name].title), setting)
    axis: Figure = {"title": {"text": setting}, "type": "log", "dtick": 1}
    if any(lane.setting <= 0 for lane in shown):
        decades = range(math.ceil(math.log10(zero)) + 1, math.floor(math.log10(max(positive, default=1.0))) + 1)
        ticks = [zero, *(10.0**k for k in decades)]
        axis |= {"tickvals": ticks, "ticktext": ["0", *(f"{tick:g}" for tick in ticks[1:])]}
    layout = _layout(scale, axis, [])
    layout["meta"]["floor"] = lowest
    return {"data": traces, "layout": layout}


def _valley(
    lanes: Sequence[Lane], chosen: float | None, zero: float, scale: Scale, look: Look, title: str, setting: str
) -> list[Figure]:
    ceiling, name = scale.target(CEILING), lanes[0].optimizer
    failed = [lane.diverged or not math.isfinite(as_losses([lane.final])[0]) for lane in lanes]
    place = [float(lane.setting) or zero for lane in lanes]
    finals = [math.inf if bad else float(as_losses([lane.final])[0]) for lane, bad in zip(lanes, failed, strict=True)]
    settings = sorted(set(place))
    medians = [spread(f for p, f in zip(place, finals, strict=True) if p == at).median for at in settings]
    whole = [(at, median) for at, median in zip(settings, medians, strict=True) if math.isfinite(median)]
    dot = {"symbol": look.marker, "size": 6, "color": look.light, "opacity": 0.75}
    hover = f"<b>{title}</b><br>{setting} %{{x:.3~g}}: "
    traces: list[Figure] = [
        {
            "x": _digits(np.array([at for at, _ in whole])),
            "y": _digits(np.array([median for _, median in whole])),
            "mode": "lines",
            "line": {"width": look.width, "dash": look.dash, "color": look.light},
            "hoverinfo": "skip",
            "meta": {"optimizer": name, "part": "median"},
        }
    ]
    for bad, marker, text in ((False, dot, "%{y:.3~g}"), (True, {**dot, "symbol": "x", "size": 9}, "diverged")):
        points = [(p, min(f, ceiling)) for p, f, state in zip(place, finals, failed, strict=True) if state == bad]
        if points:
            traces.append(
                {
                    "x": _digits(np.array([p for p, _ in points])),
                    "y": _digits(np.array([f for _, f in points])),
                    "mode": "markers",
                    "marker": marker,
                    "cliponaxis": False,
                    "hovertemplate": f"{hover}{text}<extra></extra>",
                    "meta": {"optimizer": name, "part": "diverged" if bad else "dots"},
                }
            )
    ring = [(at, median) for at, median in whole if chosen is not None and math.isclose(at, chosen or zero)]
    if ring:
        traces.append(
            {
                "x": _digits(np.array([at for at, _ in ring])),
                "y": _digits(np.array([median for _, median in ring])),
                "mode": "markers",
                "marker": {"symbol": "circle-open", "size": 15, "color": look.light, "line": {"width": 2}},
                "hoverinfo": "skip",
                "meta": {"optimizer": name, "part": "chosen"},
            }
        )
    return traces


def _layout(scale: Scale, axis: Figure, runs: Sequence[Run]) -> Figure:
    return {
        "meta": {
            "best": scale.best,
            "start": scale.start,
            "floor": floor(scale, runs) if runs else LOWEST,
            "ceiling": CEILING,
            "targets": {label(tau): tau for tau in TAUS},
        },
        "xaxis": {"dtick": 1, "exponentformat": "power", **axis},
        "yaxis": {"type": "log", "dtick": 1, "exponentformat": "power"},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "margin": {"l": 46, "r": 36, "t": 28, "b": 46},
    }


def _digits(values: np.ndarray) -> list[float]:
    """Six significant digits: 1e-6 of the loss would show in a gap, so losses keep nine."""
    return [float(f"{value:.9g}") for value in values]
