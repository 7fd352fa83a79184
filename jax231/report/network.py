"""A picture of a network: its blocks in order with what they give on and how many parameters they have.

Layers follow each other from left to right, in lines. A block with branches, as a residual or an inception block, is
one card with its layers inside from top to bottom; alike cards in a row are drawn once, with their number. Under each
card stands its output, a rectangle as high as the image is and as wide as it has channels, both on a log scale.
"""

import io
import math
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax231.core.checks import require
from jax231.core.files import write_whole
from jax231.report.picture import FORMATS, library
from jax231.report.style import COLORS

LINE = 15.5  # inches that a line of cards may be long
LARGEST = 16  # layers of a block that is drawn as one card
CELL = (1.06, 0.3)  # inches of a layer in a card
GAP = 0.34  # between cards
VOLUME = 0.62  # height reserved for the largest output
MARGIN = 0.25
INK, PALE = "#30343b", "#8a9099"

NORMS = ("BatchNorm", "LayerNorm", "LocalResponseNorm", "GroupNorm", "Dropout", "PReLU")
TINTS = {"Conv": 0, "ConvTranspose": 5, "Affine": 1, "RNN": 3, "LSTM": 3, "Embedding": 10, "Max": 2, "Avg": 2,
         "Global": 2, "Adaptive": 2}  # fmt: skip
"""Places among the house's colours, by the beginning of a kind; the longest beginning counts."""


@runtime_checkable
class Layer(Protocol):
    """A layer that runs, as `jax231.models.graph` has it; `reads` are places of others, -1 for the inputs."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def output(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def parameters(self) -> int: ...  # noqa: D102
    @property
    def reads(self) -> tuple[int, ...]: ...  # noqa: D102


@runtime_checkable
class Block(Protocol):
    """A block around layers."""

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def output(self) -> tuple[int, ...]: ...  # noqa: D102


class Cell(NamedTuple):
    """A layer with the normalisation next to it: what is written, and the cells that it reads."""

    name: str
    kind: str
    normed: bool
    output: tuple[int, ...]
    parameters: int
    reads: tuple[int, ...]


class Card(NamedTuple):
    """Layers drawn as one: title, group, cells with their places in the card, output, parameters, number of times."""

    title: str
    group: str
    cells: tuple[Cell, ...]
    places: tuple[tuple[int, float], ...]
    edges: tuple[tuple[int, int], ...]
    skips: bool
    output: tuple[int, ...]
    parameters: int
    times: int = 1
    also: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        if len(self.cells) == 1:
            return max(0.86, 0.078 * max(map(len, wrapped(self.cells[0])))), 0.25 + 0.17 * len(wrapped(self.cells[0]))
        columns = max(place for _, place in self.places) + 1
        rows = max(level for level, _ in self.places) + 1
        return CELL[0] * columns + 0.16 + 0.16 * self.skips, 0.46 + (CELL[1] + 0.13) * rows


def write_network(layers: Sequence[Layer], blocks: Mapping[str, Block], path: Path | str, *, title: str = "",
                  inputs: str = "") -> Path:  # fmt: skip
    """Draw the network of `layers` into `path` (PNG or SVG), and return it.

    Raises:  ValueError for another suffix, or no layers; ModuleNotFoundError without the figures extra.
    """
    path = Path(path)
    require(path.suffix.lower() in FORMATS, "write_network", f"a path ending in {' or '.join(FORMATS)}", path=str(path))
    require(len(layers) > 0, "write_network", "a model with layers", layers=len(layers))
    write_whole(path, _drawing(cards(layers, blocks), path.suffix.lower().removeprefix("."), title, inputs))
    return path


def cards(layers: Sequence[Layer], blocks: Mapping[str, Block]) -> list[Card]:
    """The cards of a network in order: blocks with branches whole, everything else layer by layer, alike ones once."""
    cells = joined(layers)
    found = _expanded("", list(range(len(cells))), cells, blocks)
    merged: list[Card] = []
    runs = [group for group, _ in groupby(card.group for card in found)]
    lone = {group for group in runs if sum(card.group == group for card in found) == 1}
    found = [card._replace(group="") if card.group in lone else card for card in found]
    for _, alike in groupby(found, _likeness):
        same = list(alike)
        merged.append(same[0]._replace(times=len(same), parameters=sum(card.parameters for card in same)))
    return merged


def _likeness(card: Card) -> tuple[object, ...]:
    """What cards have in common that are drawn once."""
    title, kinds = card.title.partition(" ")[0], tuple(cell.kind for cell in card.cells)
    return title, card.group, card.output, card.places, card.also, kinds


def joined(layers: Sequence[Layer]) -> list[Cell]:
    """The layers, each normalisation within the one layer that it reads, or else within the one that reads it."""
    readers: dict[int, list[int]] = {}
    for place, layer in enumerate(layers):
        for read in layer.reads:
            readers.setdefault(read, []).append(place)
    home = list(range(len(layers)))
    for place, layer in enumerate(layers):
        if layer.kind.startswith(NORMS):
            before, after = layer.reads, readers.get(place, [])
            if len(before) == 1 and before[0] >= 0 and readers[before[0]] == [place] and not _pools(layers[before[0]]):
                home[place] = home[before[0]]
            elif len(after) == 1 and layers[after[0]].reads == (place,) and not layers[after[0]].kind.startswith(NORMS):
                home[place] = after[0]
    hosts = sorted(set(home))
    cells = []
    for host in hosts:
        inside = [place for place in range(len(layers)) if home[place] == host]
        reads = {hosts.index(home[read]) if read >= 0 else -1 for place in inside for read in layers[place].reads}
        others = tuple(sorted(read for read in reads if read != len(cells)))
        parameters = sum(layers[place].parameters for place in inside)
        shown = layers[host]
        cells.append(Cell(shown.name, shown.kind, len(inside) > 1, shown.output, parameters, others))
    return cells


def wrapped(cell: Cell) -> list[str]:
    """What is written for a layer, in lines."""
    kind, _, rest = cell.kind.partition(", ")
    name, _, window = kind.replace("MaxPoolWithSwitches", "MaxPool").partition(" ")
    lines = [f"{name} {window}".strip()]
    return lines + [word for word in ("norm" if cell.normed else "", rest) if word]


def _pools(layer: Layer) -> bool:
    return "Pool" in layer.kind or layer.kind.startswith("Embedding")


def _inside(name: str, block: str) -> bool:
    return block == "" or name == block or name.startswith(block + "/")


def _expanded(block: str, places: list[int], cells: Sequence[Cell], blocks: Mapping[str, Block]) -> list[Card]:
    """The cards of the cells at `places`, which are those of one block."""
    found = []
    children = [(child, list(own)) for child, own in groupby(places, lambda i: _child(cells[i].name, block, blocks))]
    long = [(child, own) for child, own in children if child in blocks and len(own) > 1]
    follow = [any(read in own[0][1] for i in own[1][1] for read in cells[i].reads) for own in pairwise(long)]
    row = len(long) > 2 and len({blocks[child].kind for child, _ in long}) == 1 and all(follow)
    for child, own in children:
        if len(own) == 1 or child not in blocks:
            found += [_card([i], cells, blocks, "") for i in own]
        elif _is_unit(child, own, cells, blocks) or (row and len(own) <= 4 and not _simple(child, blocks)):
            found.append(_card(own, cells, blocks, child))
        else:
            found += _expanded(child, own, cells, blocks)
    return found


def _simple(child: str, blocks: Mapping[str, Block]) -> bool:
    return blocks[child].kind in ("Sequential", "Stage", "List")


def _child(name: str, block: str, blocks: Mapping[str, Block]) -> str:
    """The block next under `block` that holds the layer, or the layer itself."""
    words = name.split("/")
    start = len(block.split("/")) if block else 0
    names = ["/".join(words[:depth]) for depth in range(start + 1, len(words))]
    return next((candidate for candidate in names if candidate in blocks), name)


def _is_unit(child: str, own: list[int], cells: Sequence[Cell], blocks: Mapping[str, Block]) -> bool:
    """Whether a block is small, has branches, and they are its own, not those of a block inside."""
    chain = all(cells[i].reads == (before,) for before, i in pairwise(own))
    if (chain and not _skips(own, cells)) or len(own) > LARGEST:
        return False
    inner = {_child(cells[i].name, child, blocks) for i in own} & set(blocks)
    parts = [[i for i in own if _inside(cells[i].name, name)] for name in inner]
    return not any(len(part) > 1 and _is_unit(name, part, cells, blocks)
                   for name, part in zip(inner, parts, strict=True))  # fmt: skip


def _skips(own: list[int], cells: Sequence[Cell]) -> bool:
    """Whether what goes into the block reaches what comes after it, or comes in again further on."""
    into = set(cells[own[0]].reads)
    after = next((cell.reads for cell in cells[own[-1] + 1 :]), ())
    return own[-1] in after and bool(into & set(after))


def _card(own: list[int], cells: Sequence[Cell], blocks: Mapping[str, Block], block: str) -> Card:
    here = tuple(cells[i] for i in own)
    level: dict[int, int] = {}
    for i in own:
        level[i] = max((level[read] + 1 for read in cells[i].reads if read in level), default=0)
    taken: dict[int, float] = {}
    for i in own:
        before = [taken[read] for read in cells[i].reads if read in taken]
        used = {taken[j] for j in taken if level[j] == level[i]}
        wanted = before[0] if before else 0.0
        taken[i] = next(column for column in (wanted + k for k in range(len(own) + 1)) if column not in used)
    edges = tuple((own.index(read), own.index(i)) for i in own for read in cells[i].reads if read in level)
    other = [read for read in cells[own[0]].reads[:-1] if read >= 0]
    unpools = cells[own[0]].kind == "MaxUnpool" and other  # with the switches of a layer far away
    also = f"and {cells[other[0]].name}, {shape(cells[other[0]].output)}" if unpools else ""
    if not block and len(here[0].reads) == 1 and 0 <= here[0].reads[0] < own[0] - 1:
        also = f"from {shape(cells[here[0].reads[0]].output)}"
    named = "/" not in block  # items of lists have no names worth telling
    title = " ".join((blocks[block].kind, block)[: 1 + named]) if block else ""
    group = here[0].name.split("/")[0] if "/" in here[0].name else ""
    output = blocks[block].output if block else here[-1].output
    places = tuple((level[i], taken[i]) for i in own)
    parameters = sum(cell.parameters for cell in here)
    return Card(title, group, here, places, edges, bool(block) and _skips(own, cells), output, parameters, 1, also)


def number(count: int) -> str:
    """A count as it is said: 9.4 k, 138.4 M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {letter}" if count < 100 * size else f"{count / size:.1f} {letter}"
    return str(count)


def shape(output: tuple[int, ...]) -> str:
    """56 x 56 x 64."""
    return " × ".join(map(str, output))


def _tint(kind: str) -> str:
    matches = [name for name in TINTS if kind.startswith(name)]
    return COLORS[TINTS[max(matches, key=len)]][0] if matches else "#6b717a"


def _lines(found: Sequence[Card]) -> list[list[Card]]:
    """Cards in as few lines as hold them, about as long as each other."""

    def filled(most: float) -> list[list[Card]]:
        lines, length = [[]], 0.0
        for card in found:
            width = card.size[0] + GAP
            if lines[-1] and length + width > most:
                lines, length = [*lines, []], 0.0
            lines[-1].append(card)
            length += width
        return lines

    count = len(filled(LINE))
    return next(lines for step in range(1, 101) if len(lines := filled(LINE * step / 100)) == count)


def _drawing(found: list[Card], form: str, title: str, inputs: str) -> bytes:
    matplotlib = library("matplotlib")
    lines = _lines(found)
    tall = [max(card.size[1] for card in line) for line in lines]
    heights = [top + VOLUME + 1.05 for top in tall]
    width = max(sum(card.size[0] + GAP for card in line) for line in lines) + 2 * MARGIN
    width, height = max(width, 6.0), sum(heights) + 0.62
    content = io.BytesIO()
    with matplotlib.rc_context({"font.size": 8, "svg.hashsalt": "jax231", "font.family": "DejaVu Sans"}):
        figure = library("matplotlib.figure").Figure(figsize=(width, height), dpi=110)
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, width), ylim=(height, 0))
        ax.axis("off")
        ax.text(MARGIN, 0.3, title, fontsize=13, fontweight="bold", color=INK, va="center")
        total = sum(card.parameters for card in found)
        said = ", ".join(word for word in (inputs, f"{total:,} parameters") if word)
        ax.text(width - MARGIN, 0.3, said, fontsize=9, color=PALE, va="center", ha="right")
        top, scale = 0.62, _scale(found)
        for number_of_line, (line, high, whole) in enumerate(zip(lines, tall, heights, strict=True)):
            _line(ax, line, top + 0.2, high, scale, last=number_of_line == len(lines) - 1)
            top += whole
        figure.savefig(content, format=form, metadata={"Date": None} if form == "svg" else None, facecolor="white")
    return content.getvalue()


def _scale(found: Sequence[Card]) -> tuple[float, float]:
    """The logarithms of the largest image and of the most channels."""
    places, channels = zip(*(_sides(card.output) for card in found), strict=True)
    return math.log2(max(places) + 1), math.log2(max(channels) + 1)


def _sides(output: tuple[int, ...]) -> tuple[int, int]:
    """How many places and how many channels an output has."""
    return (output[0] if len(output) > 1 else 1), (output[-1] if output else 1)


def _line(ax: Any, line: list[Card], top: float, high: float, scale: tuple[float, float], *, last: bool) -> None:
    left = MARGIN + GAP / 2
    middle = top + 0.22 + high / 2
    starts = []
    for card in line:
        starts.append(left)
        left += card.size[0] + GAP
    for group, members in groupby(range(len(line)), lambda i: line[i].group):
        inside = list(members)
        if group:
            begin, end = starts[inside[0]] - 0.12, starts[inside[-1]] + line[inside[-1]].size[0] + 0.12
            _box(ax, begin, top - 0.12, end - begin, high + 0.5, "#f1f3f6", "none", 0.08)
            ax.text(begin + 0.08, top, group, fontsize=7.5, color=PALE, va="center")
    for place, (card, x) in enumerate(zip(line, starts, strict=True)):
        width = card.size[0]
        if place + 1 < len(line) or not last:
            _arrow(ax, (x + width, middle), (x + width + GAP - 0.02, middle))
        _draw(ax, card, x, middle)
        _volume(ax, card, x + width / 2, top + high + 0.5 + VOLUME / 2, scale)


def _draw(ax: Any, card: Card, x: float, middle: float) -> None:
    width, height = card.size
    top = middle - height / 2
    for behind in range(min(card.times, 3) - 1, 0, -1):
        _box(ax, x + 0.05 * behind, top - 0.05 * behind, width, height, "white", PALE, 0.06)
    if len(card.cells) == 1:
        colour = _tint(card.cells[0].kind)
        _box(ax, x, top, width, height, _pale(colour), colour, 0.06)
        for place, text in enumerate(wrapped(card.cells[0])):
            weight, size = ("bold", 8) if place == 0 else ("normal", 7)
            y = top + 0.2 + 0.17 * place
            ax.text(x + width / 2, y, text, ha="center", va="center", fontsize=size, fontweight=weight, color=INK)
    else:
        _box(ax, x, top, width, height, "white", INK, 0.06)
        ax.text(x + 0.1, top + 0.16, card.title, va="center", fontsize=8, fontweight="bold", color=INK)
        _cells(ax, card, x, top + 0.37)
    if card.times > 1:
        ax.text(x + width + 0.03, top + height + 0.1, f"× {card.times}", fontsize=9.5, fontweight="bold", color=INK,
                ha="right", va="center")  # fmt: skip
    if card.also:
        ax.text(x + width / 2, top - 0.1, card.also, fontsize=6.5, color=PALE, ha="center", va="center")


def _cells(ax: Any, card: Card, x: float, top: float) -> None:
    boxes = []
    for cell, (level, column) in zip(card.cells, card.places, strict=True):
        left, above = x + 0.08 + CELL[0] * column + 0.05, top + (CELL[1] + 0.13) * level
        colour = _tint(cell.kind)
        _box(ax, left, above, CELL[0] - 0.1, CELL[1], _pale(colour), colour, 0.04, above_lines=True)
        name = cell.kind.partition(",")[0].replace("MaxPool", "max").replace("AvgPool", "mean").replace("Conv ", "")
        text = f"{name}, {cell.output[-1]}"
        ax.text(left + CELL[0] / 2 - 0.05, above + CELL[1] / 2, text, ha="center", va="center", fontsize=7, color=INK)
        boxes.append((left + CELL[0] / 2 - 0.05, above))
    for start, end in card.edges:
        (x0, y0), (x1, y1) = boxes[start], boxes[end]
        ax.plot([x0, x1], [y0 + CELL[1], y1], color=PALE, linewidth=0.9, zorder=1.5)
    ends = [box for i, box in enumerate(boxes) if i not in {start for start, _ in card.edges}]
    begins = [box for i, box in enumerate(boxes) if i not in {end for _, end in card.edges}]
    floor = top + max(y for _, y in boxes) - top + CELL[1] + 0.09
    line = {"color": PALE, "linewidth": 0.9, "zorder": 1.5}
    right = x + card.size[0] - 0.1  # a shortcut goes around everything
    for joint, inside, y0 in ((top - 0.07, begins, 0.0), (floor, ends, CELL[1])):
        across = [box for box, _ in inside] + [right] * card.skips
        if len(across) > 1:
            ax.plot([min(across), max(across)], [joint, joint], **line)
            for at, y in inside:
                ax.plot([at, at], [y + y0, joint], **line)
    if card.skips:
        ax.plot([right, right], [top - 0.07, floor], **line)


def _volume(ax: Any, card: Card, middle: float, y: float, scale: tuple[float, float]) -> None:
    places, channels = _sides(card.output)
    high = max(VOLUME * math.log2(places + 1) / scale[0], 0.05)
    wide = max(0.8 * math.log2(channels + 1) / scale[1], 0.05)
    _box(ax, middle - wide / 2, y - high / 2, wide, high, "#dfe3e8", "#b3bac4", 0.01)
    below = y + VOLUME / 2
    texts = (shape(card.output), number(card.parameters) if card.parameters else "")
    for place, text in enumerate(texts):
        ax.text(
            middle, below + 0.12 + 0.17 * place, text, ha="center", va="center", fontsize=7, color=(INK, PALE)[place]
        )


def _box(ax: Any, x: float, y: float, width: float, height: float, face: str, edge: str, radius: float, *,
         above_lines: bool = False) -> None:  # fmt: skip
    look = {"boxstyle": f"round,pad=0,rounding_size={radius}", "facecolor": face, "edgecolor": edge, "linewidth": 1.0}
    at, order = (x, y), 2 if above_lines else 1
    patch = library("matplotlib.patches").FancyBboxPatch(at, width, height, zorder=order, **look)
    ax.add_patch(patch)


def _arrow(ax: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": PALE, "linewidth": 1, "shrinkA": 1, "shrinkB": 1}
    )


def _pale(colour: str) -> str:
    """A colour mixed with white."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - 0.2 * (255 - part)):02x}" for part in parts)
