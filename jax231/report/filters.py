"""First-layer filters as pictures."""

import io
import math
from pathlib import Path

import numpy as np
from jax.typing import ArrayLike

from jax231.core.checks import require
from jax231.core.files import write_whole
from jax231.report.picture import FORMATS, library


def tiles(kernel: ArrayLike) -> np.ndarray:
    """The filters of a convolution one by one, each stretched to the range from 0 to 1 by itself.

    Shapes:  kernel (kh, kw, cin, cout) with cin 1 or 3 -> (cout, kh, kw, cin).
    Raises:  ValueError for a kernel of another rank or other input channels.
    """
    kernel = np.asarray(kernel, float)
    fits = kernel.ndim == 4 and kernel.shape[2] in (1, 3)
    require(fits, "filters", "a kernel (kh, kw, 1 or 3, cout)", kernel=kernel)
    low, high = (pick(axis=(0, 1, 2), keepdims=True) for pick in (kernel.min, kernel.max))
    spread = np.where(high > low, high - low, 1.0)
    return np.moveaxis((kernel - low) / spread, -1, 0)


def filters(kernel: ArrayLike, *, columns: int | None = None, border: int = 1) -> np.ndarray:
    """The `tiles` of a kernel side by side, of three input channels in colour, of one in grey.

    Between the filters, and where the last row has none, is white.

    Shapes:  kernel (kh, kw, cin, cout) with cin 1 or 3 -> (rows * (kh + border) - border, likewise columns, 3).
    Raises:  ValueError for a kernel of another rank or other input channels, and less than one column.
    """
    each = tiles(kernel)
    count, kh, kw, _ = each.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    require(columns >= 1, "filters", "at least one column", columns=columns)
    rows = -(-count // columns)
    grid = np.ones((rows * (kh + border) - border, columns * (kw + border) - border, 3))
    for place, tile in enumerate(each):
        top, left = place // columns * (kh + border), place % columns * (kw + border)
        grid[top : top + kh, left : left + kw] = tile
    return grid


def write_filters(kernel: ArrayLike, path: Path | str, *, title: str = "", columns: int | None = None) -> Path:
    """Draw `filters` into `path` (PNG or SVG), and return it.

    Raises:  ValueError as `filters`, and for another suffix; ModuleNotFoundError without the figures extra.
    """
    path = Path(path)
    require(path.suffix.lower() in FORMATS, "write_filters", f"a path ending in {' or '.join(FORMATS)}", path=str(path))
    grid, content = filters(kernel, columns=columns), io.BytesIO()
    with library("matplotlib").rc_context({"font.size": 9, "svg.hashsalt": "jax231"}):
        width = 7.0
        size = (width, width * grid.shape[0] / grid.shape[1] + 0.4)
        figure = library("matplotlib.figure").Figure(figsize=size, dpi=130, layout="constrained")
        ax = figure.subplots()
        ax.imshow(grid, interpolation="nearest")
        ax.axis("off")
        ax.set_title(title, loc="left", fontsize=10)
        form = path.suffix.lower().removeprefix(".")
        figure.savefig(content, format=form, metadata={"Date": None} if form == "svg" else None)
    write_whole(path, content.getvalue())
    return path
