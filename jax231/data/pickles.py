"""Read a pickle of arrays, bytes, strings, lists, dicts and numbers; anything else is refused by name and never runs.

A pickle is a program that may call any function and set attributes of what it gets. Here every name that it asks for
is looked up in a table of stand-ins of ours, classes whose state it cannot set: neither NumPy's nor anybody else's
unpickling code runs.
"""

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from jax231.data.errors import DataError


class _RefusedError(Exception):
    """The name of something that a pickle may not use here."""


class _Type:
    """Stands for `numpy.dtype`: plain numbers of a stated byte order."""

    def __init__(self, code: str | bytes, align: object = False, copy: object = True):
        name = code.decode("ascii") if isinstance(code, bytes) else code
        if name not in {"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"}:
            raise _RefusedError(f"numpy.dtype({name!r})")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in {"<", ">", "|", "="}:
            raise _RefusedError(f"numpy.dtype of byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for `numpy.ndarray` and what makes an empty one: shape, type, order and bytes are checked together."""

    array: np.ndarray

    def __init__(self, *unused: object):
        """All of the array comes later, with its state."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, column_major, raw = state
        if not isinstance(kind, _Type) or not isinstance(raw, bytes):
            raise _RefusedError("numpy.ndarray of objects")
        if len(raw) != math.prod(shape) * kind.dtype.itemsize:
            raise ValueError(f"an array {tuple(shape)} of {kind.dtype} with {len(raw)} bytes")
        self.array = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if column_major else "C")


class _Bytes:
    """Stands for `_codecs.encode`, the way in which Python 3 writes bytes for Python 2."""

    def __new__(cls, text: str, encoding: str = "latin1") -> bytes:
        if encoding not in {"latin1", "latin-1"}:
            raise _RefusedError(f"_codecs.encode to {encoding!r}")
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        """There is none; without this method a pickle could set attributes of the class."""


ALLOWED = {
    "numpy.dtype": _Type,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray._reconstruct": _Array,
    "_codecs.encode": _Bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in ALLOWED:
            raise _RefusedError(wanted)
        return ALLOWED[wanted]

    def persistent_load(self, pid: object) -> Any:
        raise _RefusedError(f"a persistent object {pid!r}")


def load(path: Path, content: bytes) -> Any:
    """Unpickle `content`, the bytes of file `path`; text of Python 2 comes back as bytes.

    Raises:    DataError naming what was refused, or saying that the pickle is damaged or longer than one value.
    """
    stream = io.BytesIO(content)
    try:
        _require_small_memo(content)
        value = _plain(_Unpickler(stream, encoding="bytes").load())
    except _RefusedError as refused:
        expected = "a pickle of arrays, bytes, lists, dicts and numbers only (nothing else is run)"
        raise DataError(path, expected, str(refused)) from None
    except Exception as error:  # a damaged stream makes the unpickler raise almost anything
        raise DataError(path, "a whole pickle", f"{len(content)} bytes ({error or type(error).__name__})") from error
    rest = len(content) - stream.tell()
    if rest:
        raise DataError(path, "one pickle and nothing after it", f"{rest} more bytes")
    return value


def _require_small_memo(content: bytes) -> None:
    """Values are numbered to be named again; one damaged number would make the unpickler ask for gigabytes."""
    for opcode, argument, position in pickletools.genops(content):
        if "PUT" in opcode.name and isinstance(argument, int) and argument > len(content):
            raise ValueError(f"value number {argument} at byte {position}")


def _plain(value: Any) -> Any:
    """The value with arrays in place of their stand-ins."""
    match value:
        case _Array():
            return value.array
        case list() | tuple():
            return type(value)(map(_plain, value))
        case dict():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case None | bool() | int() | float() | str() | bytes():
            return value
    raise _RefusedError(f"a value of type {type(value).__name__}")
