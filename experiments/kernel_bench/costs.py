"""What a case cannot do without: floating-point operations and bytes to and from memory.

Bytes count every array once for each pass that has to read or write it, as if nothing stayed in the caches between
passes and everything that can be fused were: relu and additions are free, batch norm reads for its statistics, then
reads and writes. An array that stays in a cache makes a case faster than this floor by bytes.
"""

import math
from dataclasses import dataclass

import numpy as np

from kernel_bench import layers
from kernel_bench.cases import Case, Conv, ConvTranspose, Curvature, Form, Neighbors, Peak, Pool, Recurrent, Training
from kernel_bench.layers import Shape, walk
from kernel_bench.nets import Net

FLOAT = 4


@dataclass(frozen=True)
class Cost:
    """Floating-point operations (a multiply-add is two) and bytes."""

    flops: float = 0
    bytes: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


def cost(case: Case, form: Form) -> Cost:
    """Of one iteration and one model."""
    backward = form != "forward"
    match case.work:
        case Conv(x, kernel, stride, padding):
            h, w = ((size + 2 * padding - k) // stride + 1 for size, k in zip(x[1:3], kernel[:2], strict=True))
            y = (x[0], h, w, kernel[-1])
            return bilinear(2 * math.prod(y) * math.prod(kernel[:3]), x, kernel, y, backward)
        case ConvTranspose(x, kernel, stride):
            y = (x[0], x[1] * stride, x[2] * stride, kernel[2])
            return bilinear(2 * math.prod(x) * math.prod(kernel[:3]), x, kernel, y, backward)
        case Pool(_, x, size, stride):
            y = (x[0], (x[1] - size) // stride + 1, (x[2] - size) // stride + 1, x[3])
            return pool(x, y, size, backward)
        case Recurrent(cell, x, units, depth):
            total, gates = Cost(), 4 if cell == "lstm" else 1
            for d in (x[-1], *[units] * (depth - 1)):
                total += recurrent((*x[:-1], d), units, gates, backward)
            return total
        case Neighbors(train, queries, features, _):
            return Cost(2.0 * train * queries * features, FLOAT * (train + queries) * features)
        case Training(net):
            return gradient(net) + Cost(0, 5 * FLOAT * parameters(net))
        case Curvature(net):
            # Every linear map has one product in a forward and two in a backward pass; with tangents, by the product
            # rule, it has two and four more. One-shot does both, as forward over reverse does.
            products = {"linearized": 2.0, "oneshot": 8 / 3}.get(form, 1.0)
            once = gradient(net)
            return Cost(products * once.flops, products * once.bytes)
        case Peak(kind, size):
            return Cost(2.0 * size**3, 3 * FLOAT * size**2) if kind == "matmul" else Cost(0, 2 * FLOAT * size)


def bilinear(flops: float, x: Shape, kernel: Shape, y: Shape, backward: bool, *, first: bool = False) -> Cost:
    """A forward pass; backward, two products more (one for a network's first layer, whose input has no gradient)."""
    a, b, c = (FLOAT * math.prod(shape) for shape in (x, kernel, y))
    total = Cost(flops, a + b + c)
    if backward:
        total += Cost(flops, a + b + c)
    if backward and not first:
        total += Cost(flops, a + b + c)
    return total


def pool(x: Shape, y: Shape, size: int, backward: bool) -> Cost:
    """A forward pass reads x and writes y; a backward pass reads x and dy and writes dx."""
    a, c = FLOAT * math.prod(x), FLOAT * math.prod(y)
    return Cost(size * size * math.prod(y) * (2 if backward else 1), a + c + (2 * a + c if backward else 0))


def recurrent(x: Shape, units: int, gates: int, backward: bool) -> Cost:
    """Two products a step; the gates are written in the forward pass, and read and written as gradients."""
    n, t, d = x
    weights, kept = (d + units) * gates * units, n * t * gates * units
    total = Cost(2.0 * n * t * weights, FLOAT * (n * t * (d + units) + weights))
    if backward:
        total += Cost(4.0 * n * t * weights, FLOAT * (2 * n * t * (d + units) + 2 * weights + 3 * kept))
    return total


def gradient(net: Net) -> Cost:
    """The loss of a network and its gradient in all parameters."""
    total, first = Cost(), True
    for leaf in walk(net.layers, net.inputs):
        x, y = leaf.before, leaf.after
        match leaf.layer:
            case layers.Conv(size, units):
                flops = 2 * math.prod(y) * size * size * x[-1]
                total += bilinear(flops, x, (size, size, x[-1], units), y, True, first=first)
                first = False
            case layers.ConvTranspose(size, units):
                kernel = (size, size, units, x[-1])
                total += bilinear(2 * math.prod(x) * size * size * units, x, kernel, y, True)
            case layers.Affine(units):
                total += bilinear(2 * math.prod(x) * units, x, (x[-1], units), y, True)
            case layers.LSTM(units):
                total += recurrent(x, units, 4, True)
            case layers.Pool(_, size):
                total += pool(x, y, size, True)
            case layers.BatchNorm():  # x for the statistics, x to y; x and dy for their gradients, x and dy to dx
                total += Cost(12 * math.prod(x), 8 * FLOAT * math.prod(x))
            case layers.GlobalAvgPool() | layers.Embedding():
                total += Cost(0, FLOAT * (math.prod(x) + math.prod(y)) * 2)
    return total


def parameters(net: Net) -> int:
    """The number of a network's parameters."""
    return sum(
        p.size for leaf in layers.initial(net.layers, net.inputs, np.random.default_rng(0)) for p in leaf.values()
    )
