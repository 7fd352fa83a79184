"""Pictures of numbers by layer or by time step, on a log scale: activations and gradients along a network."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax231.core.checks import require
from jax231.core.files import write_whole
from jax231.report.picture import FORMATS, library
from jax231.report.style import COLORS


class Panel(NamedTuple):
    """A diagram: its title, what its axes are, and a line of positive numbers for each name; zeros are left out."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[float]]


def write_flow(panels: Sequence[Panel], path: Path | str, *, columns: int = 2) -> Path:
    """Draw the `panels`, so many in a row, into `path` (PNG or SVG), and return it.

    Raises:  ValueError for another suffix, or no panels; ModuleNotFoundError without the figures extra.
    """
    path = Path(path)
    require(path.suffix.lower() in FORMATS, "write_flow", f"a path ending in {' or '.join(FORMATS)}", path=str(path))
    require(len(panels) > 0, "write_flow", "at least one panel", panels=len(panels))
    form, rows = path.suffix.lower().removeprefix("."), -(-len(panels) // columns)
    content = io.BytesIO()
    look = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "jax231"}
    with library("matplotlib").rc_context(look):
        size = (4.8 * columns, 3.1 * rows)
        figure = library("matplotlib.figure").Figure(figsize=size, dpi=130, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, panel in zip(axes, panels, strict=False):
            for place, (name, values) in enumerate(panel.lines.items()):
                shown = np.asarray(values, float)
                shown = np.where(shown > 0, shown, np.nan)
                marker = "o" if len(shown) <= 30 else None
                colour = COLORS[place % len(COLORS)][0]
                x = np.arange(1, len(shown) + 1)
                ax.plot(x, shown, color=colour, marker=marker, markersize=3.5, linewidth=1.5, label=name)
            ax.set(yscale="log", xlabel=panel.across, ylabel=panel.up)
            ax.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
            ax.grid(alpha=0.25, linewidth=0.6)
            ax.legend(frameon=False, fontsize=8)
        for ax in axes[len(panels) :]:
            ax.axis("off")
        figure.savefig(content, format=form, metadata={"Date": None} if form == "svg" else None)
    write_whole(path, content.getvalue())
    return path
