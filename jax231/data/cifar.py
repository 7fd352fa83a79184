"""CIFAR-10 and CIFAR-100, the python edition (pickles) and the binary edition (records of bytes)."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jax231.data import pickles
from jax231.data.dataset import Examples
from jax231.data.errors import demand

SIDE = 32
PIXELS = 3 * SIDE * SIDE


def python_batch(path: Path, content: bytes, count: int, classes: int, key: bytes = b"labels") -> Examples:
    """One batch of the python edition: a pickled dict with `data` (count, 3072) uint8 and a list of labels at `key`.

    Raises:    DataError for a pickle that holds anything but data, missing keys, other shapes, labels out of range.
    """
    batch = _dict_with(path, content, (b"data", key))
    data, labels = batch[b"data"], batch[key]
    expected = f"data of shape {(count, PIXELS)} and type uint8"
    demand(isinstance(data, np.ndarray), path, expected, type(data).__name__)
    demand(data.shape == (count, PIXELS) and data.dtype == np.uint8, path, expected, f"{data.shape}, {data.dtype}")
    demand(isinstance(labels, list), path, f"a list of {count} labels", type(labels).__name__)
    demand(len(labels) == count, path, f"{count} labels", len(labels))
    wrong = [(i, v) for i, v in enumerate(labels) if not isinstance(v, int) or not 0 <= v < classes]
    demand(not wrong, path, f"labels within [0, {classes})", f"{len(wrong)} others, (position, label) {wrong[:1]}")
    return Examples(_interleaved(data), np.array(labels, np.int32))


def python_names(path: Path, content: bytes, classes: int, key: bytes = b"label_names") -> tuple[str, ...]:
    """Class names of the python edition: the list at `key` of the pickled dict."""
    names = _dict_with(path, content, (key,))[key]
    demand(isinstance(names, list) and len(names) == classes, path, f"a list of {classes} names", repr(names)[:60])
    return tuple(name.decode("ascii") if isinstance(name, bytes) else str(name) for name in names)


def binary_batch(path: Path, content: bytes, count: int, classes: int, label_bytes: int = 1) -> Examples:
    """One file of the binary edition: `count` records of `label_bytes` labels, the last the fine one, and 3,072 pixels.

    Raises:    DataError for another length or labels out of range.
    """
    record = label_bytes + PIXELS
    demand(
        len(content) == count * record,
        path,
        f"{count * record} bytes ({count} records of {record})",
        f"{len(content)} bytes ({len(content) / record:g} records)",
    )
    records = np.frombuffer(content, np.uint8).reshape(count, record)
    labels = records[:, label_bytes - 1].astype(np.int32)
    wrong = np.flatnonzero(labels >= classes)
    first = [(int(i), int(labels[i])) for i in wrong[:1]]
    demand(wrong.size == 0, path, f"labels within [0, {classes})", f"{wrong.size} others, (position, label) {first}")
    return Examples(_interleaved(records[:, label_bytes:]), labels)


def binary_names(path: Path, content: bytes, classes: int) -> tuple[str, ...]:
    """Class names of the binary edition: one a line."""
    try:
        names = tuple(content.decode("ascii").split())
    except UnicodeDecodeError:
        names = ()
    demand(len(names) == classes, path, f"{classes} class names, one a line", f"{len(names)} names")
    return names


def _dict_with(path: Path, content: bytes, keys: tuple[bytes, ...]) -> dict[bytes, Any]:
    value = pickles.load(path, content)
    demand(isinstance(value, dict), path, "a pickled dict", type(value).__name__)
    demand(all(key in value for key in keys), path, f"the keys {list(keys)}", f"{list(value)}")
    return value


def _interleaved(planes: np.ndarray) -> UInt8[np.ndarray, "n 32 32 3"]:
    """Planes of red, green and blue as pixels of three channels."""
    return np.ascontiguousarray(planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
