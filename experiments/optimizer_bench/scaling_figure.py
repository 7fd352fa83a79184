"""Time and memory of a step against the number of parameters, each method named where its curve ends."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from optimizer_bench.growth import Curve

LABEL = 1.7
"""The factor between two labels at one end that keeps them apart."""


def draw(curves: Sequence[Curve], file: Path) -> None:
    """Write two panels in logarithms."""
    figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.8), layout="constrained")
    panels = (
        ("time of one step", "milliseconds", 1e3, [(each.seconds, each.time) for each in curves]),
        ("its memory: state and temporary arrays", "megabytes", 1e-6, [(each.bytes, each.memory) for each in curves]),
    )
    for ax, (title, unit, scale, measured) in zip(axes, panels, strict=True):
        labels = []
        for place, (each, (values, power)) in enumerate(zip(curves, measured, strict=True)):
            heights, colour = [scale * value for value in values], f"C{place}" if place else "0.5"
            ax.loglog(each.sizes, heights, "o-" if place else "o--", color=colour, markersize=4)
            labels.append((each.sizes[-1], heights[-1], f"{each.title}, $N^{{{power:.2f}}}$", colour))
        below = {}
        for size, height, text, colour in sorted(labels):  # upwards, so that one may make room for the next
            lift = max(0.0, below[size] * LABEL - height) if size in below else 0.0
            below[size] = height + lift
            ax.annotate(text, (size, height + lift), xytext=(7, 0), textcoords="offset points", va="center",
                        color=colour, fontsize=9)  # fmt: skip
        ax.set(title=title, xlabel="parameters N", ylabel=unit)
        ax.spines[["top", "right"]].set_visible(False)  # labels stand there
        ax.grid(alpha=0.3)
    figure.savefig(file, dpi=130)
    plt.close(figure)
