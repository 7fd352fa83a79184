"""Preprocessing with statistics of the training split: fit once, apply to every split, store with the run.

| name | what `apply` returns |
|---|---|
| `none` | the numbers as they are, as floating point |
| `mean_image` | minus the mean image (AlexNet) |
| `per_channel_mean` | minus the mean of each channel (VGG) |
| `per_channel` | minus the mean of each channel, divided by its standard deviation (ResNet) |
| `standardize` | every feature minus its mean, divided by its standard deviation |
| `pca` | rotated onto the principal axes, largest variance first; flat `(n, components)` |
| `whiten` | the same, each axis scaled to variance one: the covariance of the training split is the identity |
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from jax231.core.checks import require
from jax231.core.files import write_whole
from jax231.data.errors import DataError, demand

NAMES = ("none", "mean_image", "per_channel_mean", "per_channel", "standardize", "pca", "whiten")
BLOCK = 4096  # examples that are in memory as float64 at a time
NEGLIGIBLE = 1e-10  # variance, relative to the largest, below which a principal axis is rounding error and is dropped


class Stats(NamedTuple):
    """What one `fit` learnt: `apply` subtracts `mean`, divides by `scale`, multiplies by `basis` where there is one.

    `mean` and `scale` have the shape of one example (of its channels, or none), `basis` is (d, components) or (0, 0).
    """

    name: str
    mean: Float64[np.ndarray, "..."]
    scale: Float64[np.ndarray, "..."]
    basis: Float64[np.ndarray, "d components"]


def fit(name: str, train_x: np.ndarray, components: int | None = None) -> Stats:
    """Learn the statistics of preprocessing `name` from the training split, in float64.

    `components` limits `pca` and `whiten` to that many axes of largest variance; axes without variance are dropped
    always, and a feature that never changes is centred but not scaled.

    Shapes:    train_x (n, ...), integer or floating; channels are the last axis.
    Cost:      one pass for means, two with deviations; `pca` and `whiten` n d^2 and an eigenproblem of size d.
    Raises:    ValueError for an unknown name, no example, a single number an example, or `components` out of range.
    Source:    CS231n notes, neural-networks-2 (data preprocessing).
    """
    require(name in NAMES, "preprocess.fit", "a name among " + ", ".join(NAMES), name=name)
    require(train_x.ndim >= 2 and len(train_x) > 0, "preprocess.fit", "train_x (n, ...) with n > 0", train_x=train_x)
    rotates = name in ("pca", "whiten")
    require(components is None or rotates, "preprocess.fit", "components only for pca, whiten", components=components)
    none = np.zeros((0, 0))
    if name == "none":
        return Stats(name, np.zeros(()), np.ones(()), none)
    axes = tuple(range(train_x.ndim - 1)) if name.startswith("per_channel") else (0,)
    mean = train_x.mean(axis=axes, dtype=np.float64)
    ones = np.ones(mean.shape)
    if rotates:
        return Stats(name, mean, ones, _principal_axes(train_x, mean, components, name == "whiten"))
    if name in ("mean_image", "per_channel_mean"):
        return Stats(name, mean, ones, none)
    deviation = np.sqrt(_variance(train_x, mean, axes))
    return Stats(name, mean, np.where(deviation > 0, deviation, ones), none)


def apply(stats: Stats, x: np.ndarray) -> Float[np.ndarray, "n ..."]:
    """Preprocess a split with the statistics of the training split.

    Shapes:    x (n, ...) -> the same shape, (n, components) for `pca` and `whiten`; float64 stays, all else gives
               float32.
    Raises:    ValueError if the examples have not the shape that `stats` was fit on.
    """
    shape = stats.mean.shape
    fits = x.ndim > len(shape) and x.shape[x.ndim - len(shape) :] == shape
    require(fits, "preprocess.apply", f"examples whose last axes are those of {stats.name}: {shape}", x=x)
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    y = x.astype(dtype)
    y -= stats.mean.astype(dtype)
    y /= stats.scale.astype(dtype)
    return y.reshape(len(y), -1) @ stats.basis.astype(dtype) if stats.basis.size else y


def save(stats: Stats, path: Path) -> None:
    """Write the statistics as one .npz file, whole or not at all."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = stats._asdict()
    np.savez(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def load(path: Path) -> Stats:
    """Read what `save` wrote, bit for bit.

    Raises:    DataError for a file that is damaged or something else.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            stats = Stats(str(arrays["name"]), arrays["mean"], arrays["scale"], arrays["basis"])
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(path, "statistics of preprocessing", str(error) or type(error).__name__) from error
    demand(stats.name in NAMES, path, "statistics of one of " + ", ".join(NAMES), stats.name)
    return stats


def _centred(x: np.ndarray, mean: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of `x - mean` in float64, so that 50,000 images never lie in memory eight bytes a number."""
    for start in range(0, len(x), BLOCK):
        yield x[start : start + BLOCK] - mean


def _variance(x: np.ndarray, mean: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    squares = np.zeros(mean.shape)
    for block in _centred(x, mean):
        squares += np.square(block).sum(axis=axes)
    return squares * (mean.size / x.size)


def _principal_axes(x: np.ndarray, mean: np.ndarray, components: int | None, whiten: bool) -> np.ndarray:
    """Eigenvectors of the covariance as columns, largest variance first; over the root of the variance to whiten."""
    width = mean.size
    asked = width if components is None else components
    require(1 <= asked <= width, "preprocess.fit", f"components within [1, {width}]", components=components)
    covariance = np.zeros((width, width))
    for block in _centred(x, mean):
        flat = block.reshape(len(block), width)
        covariance += flat.T @ flat
    variances, axes = np.linalg.eigh(covariance / len(x))
    variances, axes = variances[::-1], axes[:, ::-1]
    kept = min(asked, int(np.count_nonzero(variances > NEGLIGIBLE * max(variances[0], 0.0))))
    require(kept > 0, "preprocess.fit", "examples that differ from one another", train_x=x)
    axes = axes[:, :kept] * _signs(axes[:, :kept])
    return axes / np.sqrt(variances[:kept]) if whiten else axes


def _signs(axes: np.ndarray) -> np.ndarray:
    """An eigenvector's sign is arbitrary; make its largest entry positive, so that every LAPACK gives the same."""
    largest = np.abs(axes).argmax(axis=0)
    return np.sign(axes[largest, np.arange(axes.shape[1])])
