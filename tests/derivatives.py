"""The truth about derivatives: differences in float64."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree


def relative_error(actual, desired) -> float:
    """``|actual - desired| / |desired|`` in the Euclidean norm, in float64; 0 where both are zero."""
    actual, desired = np.asarray(actual, np.float64), np.asarray(desired, np.float64)
    assert actual.shape == desired.shape
    error = float(np.linalg.norm(actual - desired))
    return error and error / float(np.linalg.norm(desired))


def central(f: Callable, x: jax.Array, directions: jax.Array, step: float = 1e-3) -> jax.Array:
    """The derivatives of f at x along each of the directions: centred differences of fourth order."""
    steps = step * jnp.array([-2.0, -1.0, 1.0, 2.0])
    values = jax.vmap(jax.vmap(lambda direction, s: f(x + s * direction), (None, 0)), (0, None))(directions, steps)
    return jnp.tensordot(values, jnp.array([1.0, -8.0, 8.0, -1.0]) / (12 * step), (1, 0))


def assert_derivatives(f: Callable, *args, tolerance: float = 1e-7) -> None:
    """Gradient and Hessian-vector product of f with respect to all of `args`, against differences in float64.

    Outputs of any structure are weighed with fixed random numbers, so that every one of them is seen.
    """
    point, unravel = ravel_pytree(args)
    assert point.dtype == np.float64, "needs the fixture x64"
    rng = np.random.default_rng(20)
    direction, weights = rng.standard_normal(point.size), rng.standard_normal(100_000)

    def weighed(flat: jax.Array) -> jax.Array:
        values = ravel_pytree(f(*unravel(flat)))[0]
        return values @ weights[: values.size]

    @jax.jit
    def both_ways(x: jax.Array, v: jax.Array):
        gradient = jax.grad(weighed)
        first, second = jax.jvp(gradient, (x,), (v,))
        by_differences = central(weighed, x, jnp.eye(x.size)), central(gradient, x, v[None])[0]
        return (first, second), by_differences

    for actual, desired in zip(*both_ways(point, direction), strict=True):
        assert relative_error(actual, desired) <= tolerance
