"""The objectives of the timed cases, as every side of JAX minimises them: ``fun(x, *data)`` of a flat vector."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jax231.functional import affine, softmax_cross_entropy
from optimizer_bench.cases import CLASSES, DECAY, Case
from optimizer_bench.more_garbow_hillstrom import rosenbrock as residuals


def objective(case: Case) -> Callable[..., jax.Array]:
    """The function that a case minimises."""
    return softmax_regression if case.kind == "softmax" else rosenbrock


def softmax_regression(theta: Float[Array, " p"], x: Float[Array, "n d"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """Mean cross entropy and `DECAY` times the sum of all squares; the last of `theta` are the biases."""
    weight, bias = theta[:-CLASSES].reshape(-1, CLASSES), theta[-CLASSES:]
    return softmax_cross_entropy(affine(x, weight, bias), labels).mean() + DECAY * jnp.sum(theta**2)


def rosenbrock(x: Float[Array, " n"]) -> Float[Array, ""]:
    """The extended function, a sum of squares."""
    return jnp.sum(jnp.square(residuals(x)))
