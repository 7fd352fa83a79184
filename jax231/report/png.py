"""Pictures as PNG files in memory, by the standard library alone."""

import base64
import struct
import zlib

import numpy as np
from jaxtyping import Num

from jax231.core.checks import require

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOR_TYPES = {1: 0, 3: 2}
"""The format's number for so many channels."""


def png(pixels: Num[np.ndarray, "..."]) -> bytes:
    """The file of an image of one channel (grey) or three (red, green, blue): uint8, or floats within [0, 1].

    Raises: ValueError for another shape, an image without pixels, and another type.
    Source: W3C, Portable Network Graphics (third edition), sections 5 and 11.
    """
    fits = pixels.ndim == 3 and pixels.shape[-1] in COLOR_TYPES and pixels.size > 0
    require(fits, "png", "an image (h, w, 1 or 3)", pixels=pixels)
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    require(pixels.dtype == np.uint8, "png", "uint8 or floating pixels", pixels=pixels, dtype=str(pixels.dtype))
    height, width, channels = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], 1)  # each row unfiltered: 0
    header = struct.pack(">IIBBBBB", width, height, 8, COLOR_TYPES[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def data_uri(pixels: Num[np.ndarray, "h w c"]) -> str:
    """The image as the address of an <img>, which holds the file itself."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")
