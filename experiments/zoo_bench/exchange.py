"""What both frameworks start from and what is compared of a training step, by PyTorch's names."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np


def write(folder: Path, name: str, arrays: Callable[[], Mapping[str, np.ndarray]]) -> None:
    """Leave the first weights of a network, where they are not there yet."""
    path = _path(folder, name)
    if not path.exists():
        path.write_bytes(pickle.dumps(dict(arrays()), protocol=5))


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    """What `write` left."""
    return pickle.loads(_path(folder, name).read_bytes())


def norms(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The norm of each array, in the order of their names: little to send, and no two networks have the same.

    Running statistics are part of it.
    """
    return np.array([np.linalg.norm(arrays[name].ravel()) for name in sorted(arrays)])


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.pickle"
