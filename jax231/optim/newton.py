"""Newton's method with the dense Hessian, damped and globalised."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from jax231.core import tree
from jax231.core.checks import is_concrete, require
from jax231.curvature.products import hessian
from jax231.optim import counts
from jax231.optim.arguments import required
from jax231.optim.linesearch import backtracking

PyTree = Any


class NewtonState(NamedTuple):
    """What was used, the multiple of the identity that the last step added, and whether its line search failed."""

    counts: counts.Counts
    added: Float[Array, ""]
    stalled: Bool[Array, ""]


def damped_solve(
    matrix: Float[Array, "n n"], vector: Float[Array, " n"], damping: Float[Array, ""] | float
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """Solve (matrix + tau I) x = vector with tau = damping, or the first larger one that is positive definite.

    tau grows by factors of 10, from at least 1e-3 of the mean absolute diagonal on, until Cholesky's method succeeds;
    the tau that was used comes back too.

    Source: Nocedal & Wright 2006, algorithm 3.3.
    """
    size = vector.size
    smallest = 1e-3 * jnp.maximum(jnp.mean(jnp.abs(jnp.diagonal(matrix))), jnp.finfo(matrix.dtype).tiny * 1e6)

    def factor(tau):
        return jnp.linalg.cholesky(matrix + tau * jnp.eye(size, dtype=matrix.dtype))

    def failed(carry):
        _, root, tries = carry
        return ~jnp.isfinite(root[-1, -1]) & (tries < 40)

    def again(carry):
        tau, _, tries = carry
        tau = jnp.maximum(10 * tau, smallest)
        return tau, factor(tau), tries + 1

    tau = jnp.asarray(damping, matrix.dtype)
    tau, root, _ = jax.lax.while_loop(failed, again, (tau, factor(tau), jnp.zeros((), jnp.int32)))
    return jax.scipy.linalg.cho_solve((root, True), vector), tau


def newton(damping: Float[Array, ""] | float = 1e-3, *, block: int = 128) -> optax.GradientTransformationExtraArgs:
    """Damped Newton: the step solves (H + lambda I) p = -gradient, then is shortened until the loss falls.

    `update` needs ``value``, ``grad`` and ``value_fn``. Where H + lambda I is not positive definite a larger multiple
    of the identity is added (`damped_solve`), so the direction always descends.

    damping: lambda >= 0, traced; `block`: columns of the Hessian in memory together.

    Cost:    n Hessian-vector products, n^3/3 multiplications and 2 n^2 numbers a step: for small n.
    Raises:  ValueError if a concrete damping is negative.
    Source:  CS231n lecture 7 (the Newton parameter update); Nocedal & Wright 2006, section 3.4.
    """
    if is_concrete(damping):
        require(bool(damping >= 0), "newton", "a damping that is not negative", damping=damping)

    def init(params: PyTree) -> NewtonState:
        flat, _ = tree.ravel(params)
        return NewtonState(counts.none(), jnp.zeros((), flat.dtype), jnp.zeros((), bool))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        value, grad, value_fn = required("newton", extra, "value", "grad", "value_fn")
        point, unravel = tree.ravel(params)
        gradient, _ = tree.ravel(grad)

        def flat_value(flat):
            return jnp.asarray(value_fn(unravel(flat)), point.dtype)

        matrix = hessian(flat_value, point, block=block)
        direction, added = damped_solve(matrix, -gradient, damping)
        slope = jnp.vdot(gradient, direction)
        found = backtracking(flat_value, point, direction, jnp.asarray(value, point.dtype), slope)
        used = state.counts.plus(loss=found.evaluations, gradient=1, hessian=1)
        return unravel(found.step * direction), NewtonState(used, added, ~(found.step > 0))

    return optax.GradientTransformationExtraArgs(init, update)
