"""The report of a training run: one HTML file that opens offline, on a phone and on paper."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8

from jax231.core.files import write_whole
from jax231.measure.confusion import class_scores, mistakes
from jax231.measure.inspection import Example, First, Inspection, Judged
from jax231.report import style
from jax231.report.assemble import assembled
from jax231.report.filters import tiles
from jax231.report.page import swatch
from jax231.report.png import data_uri
from jax231.report.training import figures, words
from jax231.report.training.read import Training, read_training
from jax231.report.words import machine

TABLE = 20
"""Classes whose confusion matrix is a table; that of more is drawn, up to `DRAWN`."""

DRAWN = 200
ROWS = 30
"""Classes that the table of classes shows at most."""

MISTAKES = 10
NO_FINDINGS = Inspection()


def write_training_report(folder: Path | str, inspection: Inspection = NO_FINDINGS) -> Path:
    """Write `report.html` into the folder of a training run, and return the file's path.

    The curves and settings come from the folder's files, all else from what `train.inspect.inspect` found in the run.

    Raises: ValueError where the folder is not that of a training run, or its files are damaged; ModuleNotFoundError
            without the report extra.
    """
    training = read_training(folder)
    page = assembled(
        "training.html.j2", ["report.css", "training.css"], ["plots.js", "training.js"],
        **contents(training, inspection),
    )  # fmt: skip
    path = training.folder / "report.html"
    write_whole(path, page)
    return path


def contents(training: Training, inspection: Inspection) -> dict[str, Any]:
    """Everything the template shows."""
    drawn = figures.curves(training, inspection.rates)
    present = [name for name in figures.SERIES if any(c["series"] == name for lines in drawn.values() for c in lines)]
    end = max(training.done, 1 if training.finished else training.config["epochs"])
    learned, judged = inspection.learned, inspection.judged
    names = words.class_names(training.facts.classes, words.is_text(training)) if training.facts is not None else []
    return {
        "name": training.folder.resolve().name,
        "headline": words.headline(training, judged, learned),
        "state": words.state(training),
        "notes": inspection.notes,
        "text": words.is_text(training),
        "facts": words.facts(training, inspection),
        "speed": words.speed(training),
        "scores": _scores(training, inspection),
        "curves": [(figures.NAMES[name], figures.plotted(name, lines, end)) for name, lines in drawn.items()],
        "legend": [(name, figures.LOOKS[name]._asdict(), swatch(figures.LOOKS[name])) for name in present],
        "looks": {name: look._asdict() for name, look in figures.LOOKS.items()},
        "chunked": figures.chunked(training),
        "several": any(line["part"] == "member" for lines in drawn.values() for line in lines),
        "members": None if judged is None or not judged.members else _members(judged),
        "errors": None if judged is None else _errors(judged, names),
        "worst": [] if judged is None else [_example(example, names, judged.white) for example in judged.worst],
        "pixels": judged is not None and judged.form == "pixels",
        "colors": [(name, css) for name, css in zip(names, map(_css, range(len(names))), strict=True)],
        "surprises": [] if judged is None else [_surprise(one, names) for one in judged.surprises],
        "first": None if learned is None or learned.first is None else _first(learned.first, names),
        "sample": None if learned is None else learned.sample,
        "machine": _machine(training),
        "config": training.text,
        "digests": training.facts.digests if training.facts is not None else {},
    }


def _scores(training: Training, inspection: Inspection) -> dict[str, Any]:
    rows = words.scores(training, inspection)
    columns = _columns([row for _, row in rows], text=words.is_text(training))
    return {
        "heads": [name for name, _ in columns],
        "rows": [(title, [form(row) for _, form in columns]) for title, row in rows],
    }


def _columns(rows: list[dict[str, Any]], *, text: bool) -> list[tuple[str, Callable[[dict[str, Any]], str]]]:
    """The heads of a table of scores, and what stands below them."""
    columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [("loss", lambda row: words.loss(row["loss"]))]
    if text:
        columns += [
            ("bits a character", lambda row: "–" if row["loss"] is None else f"{words.bits(row['loss']):.3f}"),
            ("perplexity", lambda row: "–" if row["loss"] is None else f"{math.exp(row['loss']):.3f}"),
        ]
    columns.append(("accuracy", lambda row: words.share(row["accuracy"])))
    if any(row["mean_iou"] is not None for row in rows):
        columns.append(("mean IoU", lambda row: words.share(row["mean_iou"])))
    return columns


def _members(judged: Judged) -> dict[str, Any]:
    """Each of several networks alone, their mean, all together, and what that gains over the mean."""
    mean, whole = judged.mean, judged.whole
    rows = [one._asdict() for one in (*judged.members, mean, whole)]
    columns = _columns(rows, text=judged.form == "characters")
    gains = {"loss": f"{whole.loss - mean.loss:+.4g}", "accuracy": words.points(whole.accuracy - mean.accuracy)}
    if judged.form == "characters":
        gains["bits a character"] = f"{words.bits(whole.loss - mean.loss):+.3f}"
        gains["perplexity"] = f"{math.exp(whole.loss) - math.exp(mean.loss):+.3f}"
    if whole.mean_iou is not None and mean.mean_iou is not None:
        gains["mean IoU"] = words.points(whole.mean_iou - mean.mean_iou)
    return {
        "split": judged.split,
        "heads": [name for name, _ in columns],
        "rows": [(row["name"], [form(row) for _, form in columns]) for row in rows],
        "gains": [gains[name] for name, _ in columns],
        "alone": len(judged.members),
    }


def _errors(judged: Judged, names: list[str]) -> dict[str, Any]:
    """The confusion matrix as a table or a figure, its most frequent mistakes, and the table of classes."""
    matrix, classes = judged.confusion, len(names)
    return {
        "split": judged.split,
        "form": judged.form,
        "examples": judged.examples,
        "mistakes": [words.said(one, names, judged.form) for one in mistakes(matrix, MISTAKES)],
        "names": names,
        "long": max(map(len, names)) > 3,
        "table": _cells(matrix) if classes <= TABLE else None,
        "figure": figures.heat(matrix, names) if TABLE < classes <= DRAWN else None,
        "classes": _classes(judged, names),
        "all": classes,
    }


def _cells(matrix: Integer[np.ndarray, "k k"]) -> list[list[tuple[str, str, float]]]:
    """Count, class and shade of each cell: hits by their share, mistakes against the most frequent one."""
    shares = figures.row_shares(matrix)
    wrong = shares * (1 - np.eye(len(matrix)))
    most = wrong.max() or 1.0

    def cell(row: int, column: int) -> tuple[str, str, float]:
        count = int(matrix[row, column])
        if row == column:
            return f"{count:,}", "hit", round(float(shares[row, column]), 3)
        kind = "miss" if count else "zero"
        return (f"{count:,}" if count else "·"), kind, round(math.sqrt(wrong[row, column] / most), 3)

    return [[cell(row, column) for column in range(len(matrix))] for row in range(len(matrix))]


def _classes(judged: Judged, names: list[str]) -> list[dict[str, Any]]:
    """A row a class: its examples and its shares; of many classes the worst, of characters the most frequent."""
    scores = class_scores(judged.confusion)
    order = np.arange(len(names))
    if len(names) > ROWS:
        by = -scores.examples if judged.form == "characters" else np.nan_to_num(scores.recall, nan=2.0)
        order = np.argsort(by, kind="stable")[:ROWS]
    return [
        {
            "name": names[i],
            "examples": f"{int(scores.examples[i]):,}",
            "predicted": f"{int(scores.predicted[i]):,}",
            "shares": [
                (words.share(float(x[i])), 0.0 if math.isnan(x[i]) else round(float(x[i]), 3))
                for x in ((scores.iou,) if judged.form == "pixels" else ()) + (scores.recall, scores.precision)
            ],
        }
        for i in order
    ]


def _example(example: Example, names: list[str], white: int) -> dict[str, Any]:
    """An example as pictures and words."""
    image = data_uri(visible(example.image, white))
    shown = {"place": example.place, "loss": f"{example.loss:.3g}", "image": image}
    if np.ndim(example.truth) == 2:
        right = float((example.truth == example.predicted).mean())
        return shown | {
            "truth": data_uri(_painted(example.truth)),
            "predicted": data_uri(_painted(example.predicted)),
            "right": words.share(right),
        }
    chances = example.probability, example.believed
    return shown | {
        "truth": names[int(example.truth)],
        "predicted": names[int(example.predicted)],
        "wrong": bool(example.truth != example.predicted),
        "probability": None if chances[0] is None else words.chance(chances[0]),
        "believed": None if chances[1] is None else words.chance(chances[1]),
    }


def visible(image: Integer[np.ndarray, "h w c"], white: int) -> Float[np.ndarray, "h w d"]:
    """An image of one or three channels within [0, 1]; of another number its first as grey."""
    return (image if image.shape[-1] in (1, 3) else image[..., :1]) / max(white, 1)


def _painted(labels: Integer[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The classes of pixels in their colours."""
    palette = np.array([_rgb(k) for k in range(int(labels.max()) + 1)], np.uint8)
    return palette[labels]


def _css(label: int) -> str:
    """The colour of a class: the first, mostly a background, nearly black."""
    return "#20262d" if label == 0 else style.COLORS[(label - 1) % len(style.COLORS)][1]


def _rgb(label: int) -> tuple[int, ...]:
    return tuple(bytes.fromhex(_css(label)[1:]))


def _surprise(one: Any, names: list[str]) -> dict[str, Any]:
    return {
        "before": one.before,
        "truth": words.quoted(names[one.truth], "characters"),
        "predicted": words.quoted(names[one.predicted], "characters"),
        "loss": words.loss(one.loss),
        "probability": words.chance(one.probability),
    }


def _first(first: First, names: list[str]) -> dict[str, Any]:
    """The weights of the first layer as pictures; templates by the names of their classes."""
    pictures = tiles(first.kernel)
    labels = names if first.kind == "template" else [""] * len(pictures)
    return {
        "kind": first.kind,
        "name": first.name,
        "member": first.member,
        "count": len(pictures),
        "size": f"{first.kernel.shape[0]}×{first.kernel.shape[1]}",
        "tiles": [(label, data_uri(tile)) for label, tile in zip(labels, pictures, strict=True)],
        "wide": max(first.kernel.shape[:2]) > 12,
    }


def _machine(training: Training) -> list[tuple[str, str]]:
    """Terms and values of the machine and the versions."""
    found = training.environment
    if found is None:
        return []
    devices, revision = str(found.devices) if found.devices != 1 else "", found.revision or ""
    more = [("Devices", devices), ("Revision", revision)]
    return [*machine(found.device, found.versions), *((term, value) for term, value in more if value)]
