"""A static picture of a training run for a README, by matplotlib: curves, confusion matrix and the first layer."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from jax231.core.checks import require
from jax231.core.files import write_whole
from jax231.measure.inspection import First, Inspection, Judged
from jax231.report.filters import filters, tiles
from jax231.report.picture import FORMATS, MARKERS, library
from jax231.report.training import figures, words
from jax231.report.training.read import read_training

CLASSES = 30
"""Classes that a confusion matrix is drawn of at most; counts stand in it of up to `COUNTED`."""

COUNTED = 12
NO_FINDINGS = Inspection()


def write_training_picture(folder: Path | str, path: Path | str, inspection: Inspection = NO_FINDINGS) -> Path:
    """Draw a training run into `path` (PNG or SVG), and return it.

    In the first row the curves, in the second, where `train.inspect.inspect` found them, the confusion matrix of up to
    `CLASSES` classes and the first layer as pictures.

    Raises: ValueError for another suffix, for a folder that is not that of a training run, and where there is nothing
            to draw yet; ModuleNotFoundError without the figures extra.
    """
    path, training = Path(path), read_training(folder)
    form = path.suffix.lower()
    require(form in FORMATS, "write_training_picture", f"a path ending in {' or '.join(FORMATS)}", path=str(path))
    drawn = figures.curves(training, inspection.rates if training.chunks else None)
    require(bool(drawn), "write_training_picture", "a run with at least one chunk of steps", folder=str(folder))
    names = words.class_names(training.facts.classes, words.is_text(training)) if training.facts is not None else []
    first = inspection.learned.first if inspection.learned is not None else None
    judged = inspection.judged if inspection.judged is not None and len(names) <= CLASSES else None
    matplotlib, content = library("matplotlib"), io.BytesIO()
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "jax231"}
    with matplotlib.rc_context(style):
        below = judged is not None or first is not None
        size = (9.2, 2.9 + 3.9 * below)
        figure = library("matplotlib.figure").Figure(figsize=size, dpi=150, layout="constrained")
        rows = figure.subfigures(1 + below, 1, height_ratios=[2.9, 3.9][: 1 + below], squeeze=False)[:, 0]
        _curves(rows[0], drawn)
        if below:
            wide = [1.15, 1.0] if judged is not None and first is not None else [1.0]
            places = iter(rows[1].subplots(1, len(wide), width_ratios=wide, squeeze=False)[0])
            if judged is not None:
                _confusion(next(places), judged, names)
            if first is not None:
                _first(next(places), first, names)
        figure.savefig(content, format=form[1:], metadata={"Date": None} if form == ".svg" else None)
    write_whole(path, content.getvalue())
    return path


def _curves(row: Any, drawn: figures.Curves) -> None:
    for place, (quantity, lines) in zip(row.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        several = any(line["part"] == "member" for line in lines)
        for line in lines:
            look = figures.LOOKS[line["series"]]
            alone = len(line["x"]) == 1 and line["part"] in ("member", "end")
            points = alone or (line["part"] in ("epochs", "together") and len(line["x"]) <= 20)
            faint = line["part"] in ("chunks", "member")
            whose = {"epochs": ", mean", "together": ", together", "end": ", together"}.get(line["part"], "")
            place.plot(
                line["x"],
                line["y"],
                color=look.light,
                linewidth=0.7 if faint else 1.6,
                alpha=0.4 if faint else 1,
                marker=MARKERS[look.marker] if points else None,
                markersize=7 if line["part"] == "end" else 3.5,
                linestyle="none" if alone else "--" if line["part"] == "together" else "-",
                label=None if faint or line["part"] == "rate" else line["series"] + whose * several,
                clip_on=False,
            )
        place.set_xlabel("epoch")
        place.set_title(figures.NAMES[quantity], loc="left", fontsize=10)
        place.grid(alpha=0.25, linewidth=0.6)
        place.set_xlim(0, None)
        if quantity == "rate":
            place.set_ylim(0, None)
        if quantity in ("accuracy", "mean_iou"):
            place.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        if place.get_legend_handles_labels()[0]:
            place.legend(frameon=False, fontsize=8)


def _confusion(place: Any, judged: Judged, names: list[str]) -> None:
    shares = figures.row_shares(judged.confusion)
    place.imshow(np.sqrt(shares), cmap="GnBu", vmin=0, vmax=1)  # the root shows the rare ones
    if len(names) <= COUNTED:
        for (row, column), count in np.ndenumerate(judged.confusion):
            if count:
                dark = shares[row, column] > 0.4
                said = f"{count:,}" if judged.form != "pixels" else f"{100 * shares[row, column]:.0f}"
                place.text(
                    column, row, said, ha="center", va="center", fontsize=6.5, color="white" if dark else "#1b2026"
                )
    shown = [_plain(name) for name in names]
    short = max(map(len, names)) <= 3
    place.set_xticks(range(len(names)), shown, rotation=0 if short else 90, fontsize=7)
    place.set_yticks(range(len(names)), shown, fontsize=7)
    place.tick_params(length=0)
    place.spines[:].set_visible(False)
    what = ", % of each class" if judged.form == "pixels" and len(names) <= COUNTED else ""
    place.set_title(f"true (row) and predicted class, {judged.split}{what}", loc="left", fontsize=10)


def _first(place: Any, first: First, names: list[str]) -> None:
    kind = {"filter": "first-layer filters", "unit": "weights of the first layer", "template": "templates"}[first.kind]
    place.set_title(kind + (f", {first.member}" if first.member else ""), loc="left", fontsize=10)
    place.axis("off")
    if first.kind != "template":
        place.imshow(filters(first.kernel), interpolation="nearest")
        return
    pictures = tiles(first.kernel)
    columns = int(np.ceil(np.sqrt(len(pictures))))
    height, width = pictures.shape[1:3]
    for i, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        left, top = i % columns * (width * 1.12), i // columns * (height * 1.35)
        shown = np.broadcast_to(picture, (height, width, 3))
        place.imshow(shown, extent=(left, left + width, top + height, top), interpolation="nearest")
        place.text(left + width / 2, top + 1.04 * height, _plain(name), ha="center", va="top", fontsize=7)
    place.set(xlim=(0, columns * 1.12 * width), ylim=(-(-len(pictures) // columns) * 1.35 * height, 0))


def _plain(title: str) -> str:
    """A name that matplotlib does not take for mathematics."""
    return title.replace("$", r"\$")
