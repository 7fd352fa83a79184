"""The arrays of a case: made by NumPy from a fixed seed, so that every side computes with the same numbers."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kernel_bench.cases import Case, Conv, ConvTranspose, Neighbors, Peak, Pool, Recurrent
from kernel_bench.layers import initial, output_shape
from kernel_bench.nets import Net

RATE, MOMENTUM = 1e-3, 0.9
"""Of a training step: small, so that thousands of steps on one batch stay finite."""

IMAGES = "neighbors.npz"
"""The file in the exchange folder with train_x, train_y and x of the nearest-neighbour case."""


class Batch(NamedTuple):
    """What a training step starts with."""

    params: list[dict[str, np.ndarray]]
    x: np.ndarray
    labels: np.ndarray


def arrays(case: Case) -> list[np.ndarray]:
    """The operands of an operation: what it works on first, then its weights."""
    rng = np.random.default_rng(231)

    def normal(*shape: int, variance: float = 1.0) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(variance))

    match case.work:
        case Conv(x, kernel, stride):  # its gradient times itself has variance 1 again: a loop of them stays finite
            kh, kw, cin, cout = kernel
            fan_out = kh * kw * cin * cout / (x[-1] * stride**2)
            return [normal(*x), normal(*kernel, variance=1 / math.sqrt(kh * kw * cin * fan_out))]
        case ConvTranspose(x, kernel, stride):
            variance = stride / (kernel[0] * kernel[1] * math.sqrt(kernel[2] * kernel[3]))
            return [normal(*x), normal(*kernel, variance=variance)]
        case Pool(_, x):
            return [normal(*x)]
        case Recurrent(cell, x, units, depth):
            gates, d, weights = 4 if cell == "lstm" else 1, x[-1], []
            for _ in range(depth):
                weights += [normal(k, gates * units, variance=1 / k) for k in (d, units)]
                weights.append(normal(gates * units, variance=0.01))
                d = units
            return [normal(*x), *weights]
        case Peak("matmul", size):
            return [normal(size, size), normal(size, size)]
        case Peak(_, size):
            return [np.ones(size, np.float32)]
    raise TypeError(f"arrays: expected an operation; got {case.work!r}")


def batch(net: Net) -> Batch:
    """Initial parameters, inputs and labels of a network."""
    rng = np.random.default_rng(231)
    params = initial(net.layers, net.inputs, rng)
    if len(net.inputs) == 2:
        tokens = rng.integers(0, net.classes, (net.inputs[0], net.inputs[1] + 1), np.int32)
        return Batch(params, tokens[:, :-1], tokens[:, 1:])
    x = rng.standard_normal(net.inputs, np.float32)
    return Batch(params, x, rng.integers(0, net.classes, labels_shape(net), np.int32))


def labels_shape(net: Net) -> tuple[int, ...]:
    """One label for every place of the output."""
    return output_shape(net.layers, net.inputs)[:-1]


def neighbors(exchange: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training examples, their labels, and queries."""
    with np.load(exchange / IMAGES) as file:
        return file["train_x"], file["train_y"], file["x"]


def write_neighbors(exchange: Path, work: Neighbors, images: tuple[np.ndarray, np.ndarray] | None) -> None:
    """Put the examples where every side reads them: the first of `images` (pixels, labels), or random ones."""
    if images is None:
        rng = np.random.default_rng(231)
        count = work.train + work.queries
        images = rng.random((count, work.features), np.float32), rng.integers(0, 10, count)
    x, y = images[0].reshape(len(images[0]), -1).astype(np.float32), images[1].astype(np.int32)
    queries = slice(work.train, work.train + work.queries)
    np.savez(exchange / IMAGES, train_x=x[: work.train], train_y=y[: work.train], x=x[queries])
