"""How did ImageNet's networks grow? AlexNet, VGG-16, GoogLeNet, ResNet-50, DenseNet-121 in one table.

    python experiments/architectures.py

Everything but the year and the error is read off the traced models: layers with weights along the longest way, sizes of
filters, parameters, multiplications and the memory of the activations for one image of 224x224, in float32. GoogLeNet
is counted without its auxiliary heads, as it classifies. Writes ``architectures.json`` and ``.png`` beside the other
results, and the table in ``experiments/README.md`` where that has the markers.
"""

import collections
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cyclopts
import matplotlib
import msgspec
from document import replace_between

from jax231.core.files import write_whole
from jax231.models import zoo
from jax231.models.graph import Graph, graph
from jax231.models.summary import inputs_of, summary

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from jax231.report.style import COLORS

HERE = Path(__file__).resolve().parent
BEGIN = "<!-- architectures:begin, made by `python experiments/architectures.py` -->"
END = "<!-- architectures:end -->"
WEIGHTS = ("Conv", "Affine")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which networks, at which size, and where the results go."""

    names: tuple[str, ...] = ("alexnet", "vgg16", "googlenet", "resnet50", "densenet121")
    """Entries of the zoo, oldest first."""

    size: int = 224
    """Pixels along a side of the images."""

    folder: Path = HERE / "results"
    """Where the results go."""

    document: Path = HERE / "README.md"
    """A document with the markers of the table."""


class Row(NamedTuple):
    """A network; `filters` are the sizes of its convolutions with how many there are, `memory` is in bytes."""

    name: str
    title: str
    year: int
    depth: int
    filters: dict[str, int]
    parameters: int
    macs: int
    memory: int


def depth(found: Graph) -> int:
    """The most layers with weights on a way from the image to the scores."""
    longest: list[int] = []
    for call in found.calls:
        before = max((longest[read] for read in call.reads if read >= 0), default=0)
        longest.append(before + call.kind.startswith(WEIGHTS))
    return longest[-1]


def measure(entry: zoo.Entry, size: int) -> Row:
    """What the traced model says."""
    shape = (size, size, 3)
    build, inputs = entry.constructor(shape, entry.classes), inputs_of(entry, shape)
    found, table = graph(build, inputs), summary(build, inputs)
    ran = [row for row in table.rows if row.output is not None]  # heads for training did not
    filters = collections.Counter(row.kind.split()[1].rstrip(",") for row in ran if row.kind.startswith("Conv "))
    year = (
        2012
        if entry.name == "alexnet"
        else int(entry.source.split(",")[0].rsplit(" ", 1)[1]) - (entry.name in ("vgg16", "googlenet"))
    )  # the challenge's year, where the paper came out the year after
    sizes = dict(sorted(filters.items(), key=lambda pair: int(pair[0].split("x")[0]), reverse=True))
    parameters = sum(row.parameters for row in ran)
    return Row(entry.name, entry.title, year, depth(found), sizes, parameters, table.macs, table.memory)


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| network | year | layers with weights | filters | parameters | multiplications | activations |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        filters = ", ".join(f"{count} of {size}" for size, count in row.filters.items())
        sizes = f"{row.parameters / 1e6:.1f} M | {row.macs / 1e9:.2f} G | {row.memory / 2**20:.0f} MiB"
        lines.append(f"| {row.title} | {row.year} | {row.depth} | {filters} | {sizes} |")
    return "\n".join(lines) + "\n"


def picture(rows: list[Row], file: Path) -> None:
    """Parameters against multiplications; the area of a dot is the memory of the activations."""
    figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
    by_macs = sorted(rows, key=lambda row: row.macs)
    for place, row in enumerate(rows):
        ax.scatter(row.macs / 1e9, row.parameters / 1e6, s=8 * row.memory / 2**20, color=COLORS[place][0], alpha=0.75)
        label = f"{row.title}, {row.year}\n{row.depth} layers, {row.memory / 2**20:.0f} MiB"
        above = by_macs.index(row) % 2 == 1  # in turn, so that neighbours leave each other room
        away = 4 + (8 * row.memory / 2**20 / math.pi) ** 0.5
        where = {"xytext": (0, away if above else -away), "ha": "center", "va": "bottom" if above else "top"}
        ax.annotate(label, (row.macs / 1e9, row.parameters / 1e6), textcoords="offset points", fontsize=8, **where)
    ax.set(xscale="log", yscale="log", xlabel="multiplications of one image (G)", ylabel="parameters (M)")
    ax.margins(x=0.2, y=0.2)
    ax.grid(alpha=0.25, which="both", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Fewer parameters, more layers; dots as large as the activations", loc="left", fontsize=10)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> list[Row]:
    """Trace the networks, write the table and the picture."""
    config.folder.mkdir(parents=True, exist_ok=True)
    rows = [measure(zoo.entry(name), config.size) for name in config.names]
    stored: dict[str, Any] = {"size": config.size, "rows": [row._asdict() for row in rows]}
    write_whole(config.folder / "architectures.json", msgspec.json.format(msgspec.json.encode(stored)) + b"\n")
    picture(rows, config.folder / "architectures.png")
    if BEGIN in config.document.read_text():
        replace_between(config.document, BEGIN, END, table(rows))
    print(table(rows))
    return rows


if __name__ == "__main__":
    cyclopts.run(main, result_action="return_value")
