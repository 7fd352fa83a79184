"""What is minimised on time: softmax regression on real images and Rosenbrock's function, each with its tolerance."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

DECAY = 0.5e-3
"""Of the sum of all squared parameters of softmax regression, biases included."""

CLASSES = 10


@dataclass(frozen=True)
class Case:
    """An objective by its kind, the number of parameters, and the largest entry of a gradient that ends a run.

    `agreement` is how far the values of two sides may lie apart, of the lowest of them (at least of 1).
    """

    name: str
    part: str
    title: str
    kind: Literal["softmax", "rosenbrock"]
    n: int
    gtol: float
    agreement: float = 1e-9
    quick: bool = True
    """Whether a quick run has it."""


CASES = (
    Case("digits", "digits", "softmax regression, digits (1,797 x 64)", "softmax", 650, 1e-6),
    Case("rosenbrock-100", "rosenbrock", "Rosenbrock, 100 dimensions", "rosenbrock", 100, 1e-8),
    Case("rosenbrock-10000", "rosenbrock", "Rosenbrock, 10,000 dimensions", "rosenbrock", 10_000, 1e-8),
    Case("fashion", "fashion", "softmax regression, Fashion-MNIST (60,000 x 784)", "softmax", 7850, 1e-4, 1e-5, False),
)


def start(case: Case) -> np.ndarray:
    """Zero, or the standard start of Moré, Garbow and Hillstrom."""
    return np.tile([-1.2, 1.0], case.n // 2) if case.kind == "rosenbrock" else np.zeros(case.n)


def data(case: Case) -> tuple[np.ndarray, ...]:
    """Images (n, d) from 0 to 1 in float64 with labels (n,), all 1,797 digits or the training split; or nothing."""
    if case.kind == "rosenbrock":
        return ()
    from jax231.data.sources import load

    if case.name == "digits":
        digits = load("digits")
        images = np.concatenate([digits.train.images, digits.test.images]) / 16.0
        return images.reshape(len(images), -1), np.concatenate([digits.train.labels, digits.test.labels])
    train = load("fashion_mnist").train
    return train.images.reshape(len(train.images), -1) / 255.0, np.asarray(train.labels)
