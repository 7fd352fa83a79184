"""Decoding of image files with Pillow: what is cut out of an image, at which size, and what is no image.

| crop | the part of an image that is resized |
|---|---|
| `none` | the whole, whatever its ratio of sides |
| `center` | the centre, as large as if the shorter side were resized to 8/7 of the result (256 for 224) |
| `random` | in training one of random area, ratio and place; else the centre |
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from jax231.data.errors import DataError, demand

EIGHT_BIT = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}

MARGIN = 8 / 7
"""The shorter side of an image before its centre is cut out, over the side of the cut."""

AREAS, RATIOS = (0.08, 1.0), (3 / 4, 4 / 3)
"""Of a random part: its share of the area (uniform), and width over height (uniform in the logarithm)."""

GAP = 2.0
"""A JPEG is decoded at a half, a quarter or an eighth where that is still so many times as large as the result."""

_LOCK = threading.Lock()

Size = tuple[int, int]
Crop = Literal["none", "center", "random"]
Box = tuple[float, float, float, float]
Draws = Float64[np.ndarray, "4"]


class Form(NamedTuple):
    """How files become arrays (h, w, channels): resized to `size` (h, w) unless None, 1 channel (grey) or 3 (RGB)."""

    size: Size | None = None
    channels: int = 3
    crop: Crop = "none"


def read_image(path: Path, form: Form, draws: Draws | None = None) -> UInt8[np.ndarray, "h w c"]:
    """The pixels of an image file.

    Colour is converted, transparency dropped; resizing is bilinear over all pixels that a new one covers. `draws` are
    four numbers within [0, 1) that choose a random part; without them it is the centre.

    Raises: DataError for a file that is no image of 8 bits a channel, or a damaged one; OSError where the system cannot
            read it; ModuleNotFoundError without Pillow.
    Source: Krizhevsky et al. 2012, section 4.1, for the centre; Szegedy et al. 2015 (arXiv:1409.4842), section 6, for
            the random part.
    """
    pillow = _pillow()
    with _named(path), pillow.open(path) as image:
        width, height = image.size
        box, right, bottom = (0.0, 0.0, float(width), float(height)), width, height
        if form.size is not None:
            box = _box(width, height, form.size, form.crop, draws)
            reduced = image.draft(None, _least(width, height, box, form.size))  # None but for a JPEG
            right, bottom = (width, height) if reduced is None else reduced[1][2:]
        image.load()
        mode = image.mode
        pixels = image.convert("L" if form.channels == 1 else "RGB")
    demand(mode in EIGHT_BIT, path, "8 bits a channel", f"mode {mode}")
    if form.size is not None:
        across, down = right / width, bottom / height
        part = (box[0] * across, box[1] * down, min(box[2] * across, right), min(box[3] * down, bottom))
        pixels = pixels.resize(form.size[::-1], pillow.Resampling.BILINEAR, part)
    return np.asarray(pixels, np.uint8).reshape(pixels.height, pixels.width, form.channels)


def read_size(path: Path) -> Size:
    """Height and width by the header of an image file.

    Raises: as `read_image`, as far as the header tells.
    """
    with _named(path), _pillow().open(path) as image:
        return image.size[::-1]


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What a decoder raises, as an error that names the file."""
    try:
        yield
    except Exception as error:  # a damaged file makes a decoder raise almost anything
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise  # the system's, not the decoder's
        raise DataError(path, "an image", f"{path.stat().st_size} bytes ({error or type(error).__name__})") from error


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        message = "image_folder: expected Pillow to be installed: pip install 'jax231[data]'"
        raise ModuleNotFoundError(message) from error
    with _LOCK:  # of two threads that see the first file of a rare format, one would not know the format yet
        Image.init()
    return Image


def _box(width: int, height: int, size: Size, crop: Crop, draws: Draws | None) -> Box:
    """Left, upper, right and lower edge of the part of an image that is resized."""
    if crop == "none":
        return 0.0, 0.0, float(width), float(height)
    if crop == "random" and draws is not None:
        area, ratio, x, y = draws.tolist()
        area = (AREAS[0] + area * (AREAS[1] - AREAS[0])) * width * height
        ratio = RATIOS[0] * (RATIOS[1] / RATIOS[0]) ** ratio
        across, down = min(math.sqrt(area * ratio), width), min(math.sqrt(area / ratio), height)
    else:
        unit = min(width / size[1], height / size[0]) / MARGIN
        across, down, x, y = size[1] * unit, size[0] * unit, 0.5, 0.5
    left, upper = x * (width - across), y * (height - down)
    return left, upper, min(left + across, width), min(upper + down, height)


def _least(width: int, height: int, box: Box, size: Size) -> Size:
    """Width and height of an image whose part has `GAP` times as many pixels a side as the result."""
    across, down = (GAP * out / side for out, side in zip(size[::-1], (box[2] - box[0], box[3] - box[1]), strict=True))
    return max(1, math.ceil(width * across)), max(1, math.ceil(height * down))
