"""IDX files, the format of MNIST and Fashion-MNIST: a big-endian header, then unsigned bytes; gzip or plain."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from jax231.data.errors import DataError, demand

IMAGES_MAGIC, LABELS_MAGIC = 0x0803, 0x0801  # type 8 is unsigned byte, the last byte counts the axes
MEANING = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}
GZIP = b"\x1f\x8b"


def images(path: Path, content: bytes, count: int, shape: tuple[int, int]) -> UInt8[np.ndarray, "n h w 1"]:
    """The images of an IDX file with three axes, which must be `(count, *shape)`.

    Raises:    DataError for damaged gzip, another magic number, other axes, or a length that the header denies.
    """
    return _parse(path, content, IMAGES_MAGIC, (count, *shape))[..., None]


def labels(path: Path, content: bytes, count: int, classes: int) -> Int32[np.ndarray, "n"]:
    """The labels of an IDX file with one axis, which must be `(count,)` and within [0, classes).

    Raises:    DataError as for `images`, and for a label out of range, with its position.
    """
    values = _parse(path, content, LABELS_MAGIC, (count,)).astype(np.int32)
    outside = np.flatnonzero(values >= classes)
    demand(
        outside.size == 0,
        path,
        f"labels within [0, {classes})",
        f"{outside.size} outside, the first {values[outside[:1]]} at position {outside[:1]}",
    )
    return values


def _parse(path: Path, content: bytes, magic: int, shape: tuple[int, ...]) -> np.ndarray:
    data = _unzipped(path, content)
    header = 4 + 4 * len(shape)
    demand(len(data) >= header, path, f"an IDX header of {header} bytes", f"{len(data)} bytes")
    words = np.frombuffer(data, ">u4", 1 + len(shape)).tolist()
    kind = MEANING.get(words[0], "no IDX file of bytes")
    demand(words[0] == magic, path, f"magic number {magic} ({MEANING[magic]})", f"{words[0]} ({kind})")
    axes = tuple(words[1:])
    demand(axes == shape, path, f"axes {shape} in the header", axes)
    size = header + math.prod(shape)
    demand(len(data) == size, path, f"{size} bytes (header and {shape} bytes)", f"{len(data)} bytes")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _unzipped(path: Path, content: bytes) -> bytes:
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(path, "a whole gzip stream", f"{len(content)} bytes ({error})") from error
