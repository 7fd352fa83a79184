"""How an array of ours is made of PyTorch's, and back.

PyTorch keeps convolutions as (out, in, kh, kw) and affine maps as (out, in); flattens images as (c, h, w); orders the
gates of an LSTM i, f, g, o; and gives recurrent layers two biases, of which only the sum counts.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Made(NamedTuple):
    """One of our arrays: the names of the PyTorch arrays that it is made of, their shapes, and both ways."""

    names: tuple[str, ...]
    shapes: tuple[Shape, ...]
    of: Callable[..., np.ndarray]
    back: Callable[[np.ndarray], tuple[np.ndarray, ...]]


SAME = {"bias": "bias", "scale": "weight", "mean": "running_mean", "var": "running_var", "table": "weight"}
"""Arrays that only have another name."""


def made(leaves: Mapping[str, Shape], leaf: str, channels: int | None = None) -> Made:
    """How the array `leaf` of a layer with these arrays is made.

    `channels` is set for an affine map behind the flattening of images with so many channels.

    Raises:  KeyError for an array that PyTorch has no counterpart of.
    """
    shape = leaves[leaf]
    if leaf == "kernel" and len(shape) == 4:
        kh, kw, cin, cout = shape
        return Made(("weight",), ((cout, cin, kh, kw),), _hwio, _oihw)
    if leaf == "kernel" and channels is not None:
        return Made(("weight",), (shape[::-1],), partial(_pixels_first, channels), partial(_channels_first, channels))
    if leaf == "kernel":
        return Made(("weight",), (shape[::-1],), _transposed, lambda kernel: (kernel.T,))
    if leaf in ("wx", "wh", "b"):
        h = leaves["wh"][0]
        swap = _swap_last_gates if leaves["wh"][1] == 4 * h else np.asarray
        if leaf == "b":
            return Made(
                ("bias_ih", "bias_hh"),
                (shape, shape),
                lambda ih, hh: swap(ih + hh),
                lambda b: (swap(b), np.zeros_like(b)),
            )
        name = {"wx": "weight_ih", "wh": "weight_hh"}[leaf]
        return Made((name,), (shape[::-1],), lambda w: swap(w.T), lambda w: (swap(w).T,))
    return Made((SAME[leaf],), (shape,), np.asarray, lambda array: (array,))


def _hwio(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0)


def _oihw(kernel: np.ndarray) -> tuple[np.ndarray]:
    return (kernel.transpose(3, 2, 0, 1),)


def _transposed(weight: np.ndarray) -> np.ndarray:
    return weight.T


def _pixels_first(channels: int, weight: np.ndarray) -> np.ndarray:
    """(units, c h w) -> (h w c, units)."""
    units = len(weight)
    return weight.reshape(units, channels, -1).transpose(2, 1, 0).reshape(-1, units)


def _channels_first(channels: int, kernel: np.ndarray) -> tuple[np.ndarray]:
    """(h w c, units) -> (units, c h w)."""
    units = kernel.shape[1]
    return (kernel.reshape(-1, channels, units).transpose(2, 1, 0).reshape(units, -1),)


def _swap_last_gates(array: np.ndarray) -> np.ndarray:
    """i, f, g, o along the last axis -> i, f, o, g, and the other way round."""
    i, f, third, fourth = np.split(array, 4, axis=-1)
    return np.concatenate([i, f, fourth, third], axis=-1)
