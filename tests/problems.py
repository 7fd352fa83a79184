"""Objectives with known minima, for every test of an optimizer.

All numbers are NumPy float64, so a test picks its own precision: ``jax.tree.map(jnp.float32, problem.start)``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


class Problem(NamedTuple):
    """An objective, where to start, and what a good optimizer finds."""

    fun: Callable[[PyTree], jax.Array]
    start: PyTree
    minimum: float
    minimiser: PyTree


def quadratic(condition: float = 100.0, size: int = 6) -> Problem:
    """``(x - a)' A (x - a) / 2`` with eigenvalues from 1 to `condition`, log-spaced, in a rotated basis.

    A rate below ``2 / condition`` is stable for gradient descent; the minimum is 0 at `a`.
    """
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    matrix = basis @ np.diag(np.geomspace(1.0, condition, size)) @ basis.T
    centre = rng.normal(size=size)

    def fun(params):
        offset = params["x"] - centre.astype(params["x"].dtype)
        return 0.5 * offset @ (matrix.astype(offset.dtype) @ offset)

    return Problem(fun, {"x": centre + rng.normal(size=size)}, 0.0, {"x": centre})


def rosenbrock() -> Problem:
    """The curved valley ``(1 - x)^2 + 100 (y - x^2)^2`` from its customary start (-1.2, 1); minimum 0 at (1, 1)."""

    def fun(params):
        x, y = params["x"]
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2

    return Problem(fun, {"x": np.array([-1.2, 1.0])}, 0.0, {"x": np.array([1.0, 1.0])})


def saddle() -> Problem:
    """``x^2 / 2 + (y^2 - 1)^2 / 4``: a saddle at the origin (value 1/4, Hessian diag(1, -1)), minima 0 at (0, +-1).

    The start lies close to the saddle on the side of (0, 1): a raw Newton step jumps onto the saddle, descent leaves.
    """

    def fun(params):
        x, y = params["x"]
        return 0.5 * x**2 + 0.25 * (y**2 - 1) ** 2

    return Problem(fun, {"x": np.array([0.5, 0.01])}, 0.0, {"x": np.array([0.0, 1.0])})


def logistic_regression(strength: float = 0.01) -> Problem:
    """Mean logistic loss plus ``strength / 2 * |w|^2`` on 40 noisy points, labels +-1; the bias is not regularized.

    Parameters are ``{"affine": {"weight": (3,), "bias": ()}}``; the optimum is iterated to rounding error by Newton.
    """
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 3)) * np.array([1.0, 3.0, 0.3])
    y = np.where(x @ np.array([1.0, -0.5, 2.0]) + 0.4 + rng.normal(size=40) > 0, 1.0, -1.0)

    def fun(params):
        weight, bias = params["affine"]["weight"], params["affine"]["bias"]
        margins = y.astype(weight.dtype) * (x.astype(weight.dtype) @ weight + bias)
        return jnp.mean(jax.nn.softplus(-margins)) + 0.5 * strength * weight @ weight

    inputs = np.concatenate([x, np.ones((40, 1))], axis=1)
    ridge = strength * np.diag([1.0, 1.0, 1.0, 0.0])
    solution = np.zeros(4)
    for _ in range(50):
        wrong = 1 / (1 + np.exp(y * (inputs @ solution)))
        gradient = -inputs.T @ (y * wrong) / 40 + ridge @ solution
        hessian = inputs.T @ (inputs * (wrong * (1 - wrong))[:, None]) / 40 + ridge
        solution = solution - np.linalg.solve(hessian, gradient)
    minimum = np.mean(np.logaddexp(0, -y * (inputs @ solution))) + 0.5 * solution @ ridge @ solution

    def params(vector):
        return {"affine": {"weight": vector[:3], "bias": np.asarray(vector[3])}}

    return Problem(fun, params(np.zeros(4)), float(minimum), params(solution))


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "quadratic": quadratic,
    "rosenbrock": rosenbrock,
    "saddle": saddle,
    "logistic_regression": logistic_regression,
}
