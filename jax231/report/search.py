"""The picture of a search: one diagram a stage, accuracy over what was searched."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jax231.core.checks import require
from jax231.core.files import write_whole
from jax231.report.picture import FORMATS, library


class Scatter(NamedTuple):
    """A stage: its title, the names of its numbers with True for a logarithmic axis, and a point for each setting.

    `accuracies` are NaN for settings that were broken off.
    """

    title: str
    axes: Mapping[str, bool]
    points: Sequence[Mapping[str, float]]
    accuracies: Sequence[float]


def write_search(stages: Sequence[Scatter], path: Path | str) -> Path:
    """Draw the first two numbers of each stage against one another, accuracy as colour, crosses for what exploded.

    Where a stage has one number, accuracy is the height. All stages share the colours; a ring marks the best.

    Raises:  ValueError for another suffix than .png or .svg, or no stage; ModuleNotFoundError without the figures
             extra.
    """
    path = Path(path)
    require(path.suffix.lower() in FORMATS, "write_search", f"a path ending in {' or '.join(FORMATS)}", path=str(path))
    require(len(stages) > 0, "write_search", "at least one stage", stages=len(stages))
    form, content = path.suffix.lower().removeprefix("."), io.BytesIO()
    look = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "jax231"}
    with library("matplotlib").rc_context(look):
        size = (4.6 * len(stages) + 0.6, 3.6)
        figure = library("matplotlib.figure").Figure(figsize=size, dpi=130, layout="constrained")
        axes = figure.subplots(1, len(stages), squeeze=False).ravel()
        finite = [x for stage in stages for x in stage.accuracies if math.isfinite(x)]
        colours = {"vmin": min(finite, default=0.0), "vmax": max(finite, default=1.0), "cmap": "viridis"}
        drawn = None
        for ax, stage in zip(axes, stages, strict=True):
            across, *others = stage.axes
            up = others[0] if others else None
            fine = [i for i, x in enumerate(stage.accuracies) if math.isfinite(x)]
            lost = [i for i in range(len(stage.points)) if i not in fine]
            x = [point[across] for point in stage.points]
            floor = min(finite, default=0.0)
            y = [point[up] if up else (a if math.isfinite(a) else floor)
                 for point, a in zip(stage.points, stage.accuracies, strict=True)]  # fmt: skip
            seen = [stage.accuracies[i] for i in fine]
            drawn = ax.scatter([x[i] for i in fine], [y[i] for i in fine], c=seen, s=36, **colours)
            ax.scatter([x[i] for i in lost], [y[i] for i in lost], c="#999999", marker="x", s=30, linewidths=1.2)
            if fine:
                best = max(fine, key=lambda i: stage.accuracies[i])
                ax.scatter([x[best]], [y[best]], s=150, facecolors="none", edgecolors="#d62728", linewidths=1.6)
            ax.set(xlabel=across, ylabel=up or "validation accuracy", xscale="log" if stage.axes[across] else "linear")
            if up and stage.axes[up]:
                ax.set_yscale("log")
            ax.set_title(stage.title, loc="left", fontsize=10, fontweight="bold")
            ax.grid(alpha=0.25, linewidth=0.6)
        figure.colorbar(drawn, ax=list(axes), label="validation accuracy", shrink=0.9)
        figure.savefig(content, format=form, metadata={"Date": None} if form == "svg" else None)
    write_whole(path, content.getvalue())
    return path
