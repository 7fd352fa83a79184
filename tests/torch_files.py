"""Writes ``.pth`` files as ``torch.save`` does, without torch: a zip of storages and a pickle of protocol 2."""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from jax231.models.state_dict import STORAGES

NAMES = {dtype: name for name, dtype in STORAGES.items()}


class Tensor(NamedTuple):
    """A strided view of a storage, in entries."""

    storage: np.ndarray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def write_torch(path: Path, values: Mapping[str, Any], leave_out: Sequence[str] = ()) -> Path:
    """Write nested dicts with arrays or `Tensor`s; storages named in `leave_out` are referred to but not written."""
    with mock.patch.dict(sys.modules, _modules()):
        content = io.BytesIO()
        writer = _Pickler(content)
        writer.dump(_tensors(values))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", content.getvalue())
        archive.writestr(f"{path.stem}/byteorder", "little")
        for number, storage in enumerate(writer.storages):
            if str(number) not in leave_out:
                archive.writestr(f"{path.stem}/data/{number}", storage.tobytes())
    return path


def _tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Rebuilt(value)
    if isinstance(value, Mapping):
        return OrderedDict((name, _tensors(entry)) for name, entry in value.items())
    if isinstance(value, np.ndarray):
        steps = [step // value.itemsize for step in value.strides]
        return _Rebuilt(Tensor(value.reshape(-1), 0, value.shape, tuple(steps)))
    return value


class _Rebuilt:
    """Pickles to a call of ``torch._utils._rebuild_tensor_v2``."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def __reduce__(self):
        storage, *view = self.tensor
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (_Reference(storage), *view, False, OrderedDict())


class _Reference(NamedTuple):
    storage: np.ndarray


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO):
        super().__init__(file, protocol=2)
        self.storages: list[np.ndarray] = []

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, _Reference):
            return None
        numbers = [number for number, storage in enumerate(self.storages) if storage is value.storage]
        if not numbers:
            numbers = [len(self.storages)]
            self.storages.append(value.storage)
        kind = getattr(sys.modules["torch"], NAMES[value.storage.dtype])
        return "storage", kind, str(numbers[0]), "cpu", len(value.storage)


def _modules() -> dict[str, ModuleType]:
    """Stand-ins with the names that the pickle refers to."""
    torch, inner = ModuleType("torch"), ModuleType("torch._utils")
    for name in STORAGES:
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2():
        """Named, not called."""

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    vars(inner)["_rebuild_tensor_v2"] = _rebuild_tensor_v2
    return {"torch": torch, "torch._utils": inner}
