"""Steps of PyTorch's optimizers, and of rules written as loops, for gradients that are given one by one."""

from collections.abc import Iterable

import numpy as np
import pytest


def hard_gradients(steps: int = 100, size: int = 7) -> np.ndarray:
    """Gradients of very different size; the last entry is always zero, the one before it for the first half."""
    rng = np.random.default_rng(3)
    gradients = rng.normal(size=(steps, size)) * np.geomspace(1e-3, 1e3, size)
    gradients[:, -1] = 0
    gradients[: steps // 2, -2] = 0
    return gradients


def start(gradients: np.ndarray) -> np.ndarray:
    """A point for them."""
    return np.linspace(-1, 1, gradients.shape[1])


def by_loop(rule: Iterable[np.ndarray]) -> np.ndarray:
    """The points that a generator yields, one row a step."""
    return np.stack(list(rule))


def by_torch(name: str, gradients: np.ndarray, rate: float, **options) -> np.ndarray:
    """The points of ``torch.optim.<name>``, one row a step; skips the test where PyTorch is not installed."""
    torch = pytest.importorskip("torch")
    x = torch.tensor(start(gradients), requires_grad=True)
    optimizer = getattr(torch.optim, name)([x], lr=rate, **options)
    points = []
    for g in gradients:
        x.grad = torch.tensor(g)
        optimizer.step()
        points.append(x.detach().numpy().copy())
    return np.stack(points)
