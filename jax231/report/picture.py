"""A static picture of a comparison for a README: relative gap against cost and against seconds, by matplotlib."""

import importlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jax231.core.files import write_whole
from jax231.measure.summary import TAUS, Run, Scale, curve, problem_scale
from jax231.report import figures, style
from jax231.report.read import Results, read_study
from jax231.report.words import label

MEASURES = {"cost": "gradient-equivalents", "seconds": "seconds"}
FORMATS = (".png", ".svg")
# Ours differ from matplotlib's names only where it has its own.
MARKERS = dict(
    zip(style.MARKERS, ("o", "s", "^", "D", "v", "P", "p", "*", "h", style.polygon("hourglass")), strict=True)
)


def write_picture(folder: Path | str, path: Path | str, problem: str | None = None) -> Path:
    """Draw the final runs of a run folder, a row a problem, into `path` (PNG or SVG), and return it.

    Medians with ranges over seeds as in the report, a cross where a run diverged, one legend. `problem` takes one only.

    Raises: ValueError for a damaged folder, an unknown problem or suffix, or where no final run is there to draw;
        ModuleNotFoundError without the figures extra.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"write_picture: expected a path ending in {' or '.join(FORMATS)}; got {str(path)!r}")
    results = read_study(folder)
    if problem is not None and problem not in results.study.problems:
        raise ValueError(f"write_picture: expected one of {list(results.study.problems)}; got problem={problem!r}")
    names = [problem] if problem is not None else list(results.study.problems)
    rows = []
    for name in names:
        runs = [run for run in results.runs if run.problem == name]
        scale = problem_scale(runs, [lane for lane in results.lanes if lane.problem == name])
        if runs and scale is not None:
            rows.append((name, runs, scale))
    if not rows:
        where = f"{results.folder}: expected final runs of {names}"
        raise ValueError(f"{where}; got none with a finite loss; finish the comparison with `jax231 compare`")
    write_whole(path, _drawing(results, rows, path.suffix.lower().removeprefix(".")))
    return path


def library(name: str) -> Any:
    """A module of matplotlib, or what to install."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        message = "jax231 report: expected the figures extra; pip install '.[figures]' in a clone of jax231"
        raise ModuleNotFoundError(f"{message} ({error})", name=error.name) from error


def _drawing(results: Results, rows: Sequence[tuple[str, Sequence[Run], Scale]], form: str) -> bytes:
    matplotlib, lines = library("matplotlib"), library("matplotlib.lines")
    content = io.BytesIO()
    study = results.study
    looks = style.looks({name: kind.order for name, kind in study.optimizers.items()})
    present = [name for name in looks if any(run.optimizer == name for _, runs, _ in rows for run in runs)]
    style_of = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "jax231"}
    with matplotlib.rc_context(style_of):
        # The object-oriented interface: no window system, no global state of pyplot.
        size = (9.2, 2.6 * len(rows) + 0.9)
        figure = library("matplotlib.figure").Figure(figsize=size, dpi=150, layout="constrained")
        axes = figure.subplots(len(rows), len(MEASURES), squeeze=False, sharey="row")
        for row, (name, runs, scale) in zip(axes, rows, strict=True):
            for place, (measure, title) in zip(row, MEASURES.items(), strict=True):
                _draw(place, runs, measure, scale, looks)
                place.set_xlabel(title)
            row[0].set_ylabel("relative gap")
            row[0].set_title(_plain(study.problems[name].title), loc="left", fontsize=10, fontweight="bold")
        entries = [
            lines.Line2D([], [], **_line(looks[name]), label=_plain(study.optimizers[name].title)) for name in present
        ]
        place = {"loc": "outside lower center", "ncols": min(5, len(entries))}
        figure.legend(handles=entries, frameon=False, handlelength=3.2, **place)
        # Without a date and with the salt above, the same results give the same file.
        figure.savefig(content, format=form, metadata={"Date": None} if form == "svg" else None)
    return content.getvalue()


def _draw(place: Any, runs: Sequence[Run], measure: str, scale: Scale, looks: Mapping[str, style.Look]) -> None:
    lowest = figures.floor(scale, runs)
    left = 0.8 * min((x for run in runs for x in getattr(run, measure) if x > 0), default=0.1)

    def gap(losses: Any) -> np.ndarray:
        return np.clip(scale.gap(losses), lowest, figures.CEILING)

    for name, look in looks.items():
        mine = [run for run in runs if run.optimizer == name]
        if not mine:
            continue
        line = curve(mine, measure)
        x, alive, steady = np.maximum(line.x, left), np.isfinite(line.low), np.isfinite(line.median)
        band = {"step": "post", "alpha": 0.15, "color": look.light, "linewidth": 0}
        place.fill_between(x[alive], gap(line.low[alive]), gap(line.high[alive]), **band)
        every = max(1, int(steady.sum()) // 6)
        place.plot(
            x[steady],
            gap(line.median[steady]),
            drawstyle="steps-post",
            **_line(look),
            markevery=(every // 2, every),
            clip_on=False,
        )
        for run in mine:
            if run.diverged:
                last = figures.last_finite(run, scale.target(figures.CEILING))
                end = max(getattr(run, measure)[-1], left)
                place.plot([end], gap([last]), "x", color=look.light, markersize=7, markeredgewidth=2, clip_on=False)
    place.set(xscale="log", yscale="log", xlim=(left, None), ylim=(lowest, figures.CEILING))
    place.grid(alpha=0.25, linewidth=0.6)
    for tau in TAUS:
        place.axhline(tau, color="0.45", linewidth=0.8, linestyle=":")
        place.annotate(
            label(tau), (0.01, tau), xycoords=("axes fraction", "data"), va="bottom", color="0.4", fontsize=7
        )


def _line(look: style.Look) -> dict[str, Any]:
    dash = "-" if look.dash == "solid" else (0, tuple(float(x) / 2 for x in re.findall(r"\d+", look.dash)))
    drawn = {"color": look.light, "linewidth": 0.8 * look.width, "linestyle": dash}
    return {**drawn, "marker": MARKERS[look.marker], "markersize": 4.5}


def _plain(title: str) -> str:
    """A title that matplotlib does not take for mathematics."""
    return title.replace("$", r"\$")
