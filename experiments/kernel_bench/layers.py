"""Networks as data: layers that every side turns into its own form, so that all sides train the same network.

Parameters are a list with one dict a leaf that has any, in the order of `walk`, in the layouts of jax231: kernels
(kh, kw, cin, cout), of a transpose convolution (kh, kw, cout, cin), weights (d, units), LSTM gates i, f, o, g.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]
"""Of one batch: images (n, h, w, c), sequences (n, t, d), tokens (n, t), rows (n, d)."""


@dataclass(frozen=True)
class Conv:
    """Convolution with a square kernel, padded by `padding` all round (None: half the kernel)."""

    size: int
    units: int
    stride: int = 1
    padding: int | None = None
    bias: bool = False

    @property
    def pad(self) -> int:
        """The padding on each side."""
        return (self.size - 1) // 2 if self.padding is None else self.padding


@dataclass(frozen=True)
class ConvTranspose:
    """Transpose convolution whose output is `stride` times as large as its input."""

    size: int
    units: int
    stride: int


@dataclass(frozen=True)
class BatchNorm:
    """Batch norm in training mode, with running statistics."""


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class Pool:
    """Pooling with a square window; `kind` is "max" or "avg"."""

    kind: str
    size: int
    stride: int
    padding: int = 0


@dataclass(frozen=True)
class GlobalAvgPool:
    """The mean of each channel."""


@dataclass(frozen=True)
class Flatten:
    """Images as rows, in the order height, width, channel."""


@dataclass(frozen=True)
class Affine:
    """x w + b over the last axis."""

    units: int


@dataclass(frozen=True)
class Embedding:
    """A row of a table for every token."""

    vocabulary: int
    units: int


@dataclass(frozen=True)
class LSTM:
    """One LSTM layer over time, from a carry of zeros."""

    units: int


@dataclass(frozen=True)
class Residual:
    """``shortcut(x) + body(x)``; an empty shortcut is x itself."""

    body: tuple["Layer", ...]
    shortcut: tuple["Layer", ...] = ()


@dataclass(frozen=True)
class Concat:
    """The outputs of all branches side by side along the channels; an empty branch is x itself."""

    branches: tuple[tuple["Layer", ...], ...]


Layer = (
    Conv | ConvTranspose | BatchNorm | Relu | Pool | GlobalAvgPool | Flatten | Affine | Embedding | LSTM | Residual
    | Concat
)  # fmt: skip


class Leaf(NamedTuple):
    """A layer without layers inside, and the shapes it maps."""

    layer: Layer
    before: Shape
    after: Shape


def walk(layers: Sequence[Layer], shape: Shape) -> Iterator[Leaf]:
    """The leaves in the order in which a forward pass meets them: bodies before shortcuts, branches one by one."""
    for layer in layers:
        match layer:
            case Residual(body, shortcut):
                yield from walk(body, shape)
                yield from walk(shortcut, shape)
            case Concat(branches):
                for branch in branches:
                    yield from walk(branch, shape)
            case _:
                yield Leaf(layer, shape, output_shape((layer,), shape))
        shape = output_shape((layer,), shape)


def output_shape(layers: Sequence[Layer], shape: Shape) -> Shape:
    """The shape after all layers."""
    for layer in layers:
        match layer:
            case Conv() | Pool():
                pad = layer.pad if isinstance(layer, Conv) else layer.padding
                units = layer.units if isinstance(layer, Conv) else shape[-1]
                size = [(length + 2 * pad - layer.size) // layer.stride + 1 for length in shape[1:-1]]
                shape = (shape[0], *size, units)
            case ConvTranspose(_, units, stride):
                shape = (shape[0], *(stride * length for length in shape[1:-1]), units)
            case GlobalAvgPool():
                shape = (shape[0], shape[-1])
            case Flatten():
                shape = (shape[0], math.prod(shape[1:]))
            case Affine(units) | LSTM(units):
                shape = (*shape[:-1], units)
            case Embedding(_, units):
                shape = (*shape, units)
            case Residual(body, _):
                shape = output_shape(body, shape)
            case Concat(branches):
                shapes = [output_shape(branch, shape) for branch in branches]
                shape = (*shapes[0][:-1], sum(branch[-1] for branch in shapes))
            case BatchNorm() | Relu():
                pass
    return shape


def initial(layers: Sequence[Layer], shape: Shape, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
    """Parameters of every leaf that has any: He's normal for weights, ones and zeros for the rest."""

    def normal(*size: int, fan: int, gain: float = 2.0) -> np.ndarray:
        return (rng.standard_normal(size) * math.sqrt(gain / fan)).astype(np.float32)

    zeros, params = (lambda *size: np.zeros(size, np.float32)), []
    for leaf in walk(layers, shape):
        fan = leaf.before[-1]
        match leaf.layer:
            case Conv(size, units, bias=bias):
                params.append({"kernel": normal(size, size, fan, units, fan=size * size * fan)})
                if bias:
                    params[-1]["bias"] = zeros(units)
            case ConvTranspose(size, units, stride):
                params.append({"kernel": normal(size, size, units, fan, fan=size * size * fan // stride**2)})
            case BatchNorm():
                params.append({"scale": np.ones(fan, np.float32), "bias": zeros(fan)})
            case Affine(units):
                params.append({"weight": normal(fan, units, fan=fan, gain=1.0), "bias": zeros(units)})
            case Embedding(vocabulary, units):
                params.append({"table": normal(vocabulary, units, fan=1, gain=1.0)})
            case LSTM(units):
                wx, wh = (normal(d, 4 * units, fan=d, gain=1.0) for d in (fan, units))
                params.append({"wx": wx, "wh": wh, "b": zeros(4 * units)})
    return params
