"""Files of weights as a flat dict of NumPy arrays: PyTorch's, safetensors, NumPy's.

A ``.pth`` file is a zip of raw storages and a pickle that says which tensor views which storage. A pickle can call
any function that it can name, so names are looked up in a list of four; all others are refused.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax.numpy as jnp
import numpy as np

BFLOAT16 = np.dtype(jnp.bfloat16)

STORAGES: Mapping[str, np.dtype] = {
    "DoubleStorage": np.dtype("<f8"), "FloatStorage": np.dtype("<f4"), "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": BFLOAT16, "LongStorage": np.dtype("<i8"), "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"), "CharStorage": np.dtype("i1"), "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}  # fmt: skip
"""PyTorch's names of storages and the types of their entries."""

SAFE: Mapping[str, np.dtype] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": BFLOAT16,
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}  # fmt: skip
"""Names of types in safetensors files."""


def read(path: str | Path, *, inside: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a ``.safetensors``, ``.npz``, ``.pth``, ``.pt`` or ``.bin`` file, by their names.

    Nothing that the file holds is executed. `inside` names the entry of a ``.pth`` that has the weights, "state_dict"
    for instance, where a training script saved more than them.

    Raises:  FileNotFoundError for a file that is not there; ValueError, with what to do, for one that is damaged, has
             another form, or refers to anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file of weights")
    if path.suffix not in READERS:
        raise ValueError(f"{path}: expected a file of weights ending in {', '.join(READERS)}; got {path.suffix!r}")
    content = path.read_bytes()
    entries = READERS[path.suffix](path, content)
    if inside is not None:
        if inside not in entries or not isinstance(entries[inside], dict):
            raise ValueError(f"{path}: expected a state dict at {inside!r}; got {_outline(entries)}")
        entries = entries[inside]
    strange = [name for name, value in entries.items() if not isinstance(value, np.ndarray)]
    if strange:
        nested = next((name for name in strange if isinstance(entries[name], dict)), None)
        advice = f"; is it inside={nested!r}?" if nested and inside is None else ""
        raise ValueError(f"{path}: expected tensors by name; got {_outline(entries)}{advice}")
    return dict(entries)


def _outline(entries: Mapping[str, Any], most: int = 6) -> str:
    """What stands at the top of a checkpoint."""
    kinds = [
        f"{name}: {f'dict of {len(value)}' if isinstance(value, dict) else type(value).__name__}"
        for name, value in list(entries.items())[:most]
    ]
    return "{" + ", ".join([*kinds, *(["..."] if len(entries) > most else [])]) + "}"


def _damaged(path: Path, error: Exception | str) -> NoReturn:
    cause = error if isinstance(error, Exception) else None
    raise ValueError(
        f"{path}: expected a whole file of weights; it is truncated or damaged ({error}): copy or download it again"
    ) from cause


def _safetensors(path: Path, content: bytes) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError as error:
        raise ImportError(f"{path}: reading it takes the package safetensors: pip install 'jax231[weights]'") from error
    try:
        tensors = deserialize(content)
    except SafetensorError as error:
        _damaged(path, error)
    unknown = sorted({tensor["dtype"] for _, tensor in tensors} - set(SAFE))
    if unknown:
        raise ValueError(f"{path}: expected tensors of types {', '.join(SAFE)}; got {', '.join(unknown)}")
    return {
        name: np.frombuffer(tensor["data"], SAFE[tensor["dtype"]]).reshape(tensor["shape"]) for name, tensor in tensors
    }


def _npz(path: Path, content: bytes) -> dict[str, Any]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        if "Object arrays" in str(error):
            raise ValueError(f"{path}: expected arrays of numbers; refused pickled objects") from error
        _damaged(path, error)


def _torch(path: Path, content: bytes) -> dict[str, Any]:
    if content[:1] == b"\x80":  # a bare pickle, PyTorch's form before 1.6
        raise ValueError(
            f"{path}: expected PyTorch's zip format; this is the one from before version 1.6: save it again with a "
            "current torch, torch.save(torch.load(path, weights_only=True), path)"
        )
    if content and content[:2] != b"PK":
        raise ValueError(f"{path}: expected a file that torch.save wrote; it begins with {content[:8]!r}")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        _damaged(path, error)
    pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise ValueError(f"{path}: expected a file that torch.save wrote; the zip has {archive.namelist()[:4]}")
    try:
        entries = _Unpickler(archive, pickles[0].split("/")[0]).load()
    except _RefusedError as refused:
        raise ValueError(
            f"{path}: expected tensors only; refused {refused}, which is not loaded because it could run code: "
            "save the weights alone, torch.save(model.state_dict(), path), or as .safetensors"
        ) from refused
    except Exception as error:  # a damaged pickle can fail in any way
        _damaged(path, error)
    if not isinstance(entries, dict):
        raise ValueError(f"{path}: expected tensors by name; got one {type(entries).__name__}")
    return entries


READERS = {".safetensors": _safetensors, ".npz": _npz, ".pth": _torch, ".pt": _torch, ".bin": _torch}


class _RefusedError(Exception):
    """A name in a pickle that is not in the list."""


class _Storage(NamedTuple):
    """The type of a storage's entries; it stands where the pickle names a class, and cannot be called."""

    dtype: np.dtype


class _Unpickler(pickle.Unpickler):
    """Tensors become arrays; dicts, lists, strings and numbers stay; everything else is refused."""

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        self._archive, self._folder = archive, folder
        order = f"{folder}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("storages are big-endian")
        self._storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle may name."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGES:
            return _Storage(STORAGES[name])
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return self._parameter
        raise _RefusedError(f"{module}.{name}")

    def persistent_load(self, reference: Any) -> np.ndarray:
        """The storage that a tensor views."""
        kind, storage, key, _, length = reference
        if kind != "storage" or not isinstance(storage, _Storage):
            raise ValueError(f"unknown reference {kind!r}")
        if key not in self._storages:
            content = self._archive.read(f"{self._folder}/data/{key}")
            self._storages[key] = np.frombuffer(content, storage.dtype)
        found = self._storages[key]
        if found.dtype != storage.dtype or len(found) < length:
            raise ValueError(f"storage {key} has {len(found)} entries of {found.dtype}, not {length}")
        return found

    def _tensor(self, storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any):
        """A copy of the entries that a tensor views."""
        last = offset + sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=True))
        if min((offset, *shape, *strides)) < 0 or (0 not in shape and last >= len(storage)):
            raise ValueError(f"a tensor of shape {shape} reaches beyond its storage of {len(storage)} entries")
        inside = storage[offset:] if 0 not in shape else storage[:0]
        steps = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(inside, shape, steps).copy()

    def _parameter(self, tensor: np.ndarray, *_: Any) -> np.ndarray:
        return tensor
