"""Read a pickle of arrays, bytes, strings, lists, dicts and numbers; anything else is refused by name and never runs.

A pickle is a program that may call any function. Here every name that it asks for meets a table of four, and each of
these is our own stand-in: neither NumPy's nor anybody else's unpickling code runs.
"""

import io
import math
import pickle
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
    """Stands for `numpy.ndarray`: shape, type, order and bytes, checked against each other."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, column_major, raw = state
        if not isinstance(kind, _Type) or not isinstance(raw, bytes):
            raise _RefusedError("numpy.ndarray of objects")
        if len(raw) != math.prod(shape) * kind.dtype.itemsize:
            raise ValueError(f"an array {tuple(shape)} of {kind.dtype} with {len(raw)} bytes")
        self.array = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if column_major else "C")


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Stands for `_codecs.encode`, the way in which Python 3 writes bytes for Python 2."""
    if encoding not in {"latin1", "latin-1"}:
        raise _RefusedError(f"_codecs.encode to {encoding!r}")
    return text.encode("latin1")


ALLOWED = {
    "numpy.dtype": _Type,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "_codecs.encode": _encode,
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
