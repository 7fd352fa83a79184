"""Newton's method with the dense Hessian, damped and globalised."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from jax231.core.checks import require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.curvature.products import hessian
from jax231.optim import counts
from jax231.optim.flat import flatten, ravel
from jax231.optim.linesearch import backtracking


class NewtonState(NamedTuple):
    """What was used, the multiple of the identity that the last step added, and whether its line search failed."""

    counts: counts.Counts
    added: Float[Array, ""]
    stalled: Bool[Array, ""]


def damped_solve(
    matrix: Float[Array, "n n"], vector: Float[Array, " n"], damping: Scalar
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """Solve (matrix + tau I) x = vector with tau = damping, or the first larger one that is positive definite.

    tau grows by factors of 10, from at least 1e-3 of the root mean square of the eigenvalues on, until Cholesky's
    method succeeds; the tau that was used comes back too.

    Source: Nocedal & Wright 2006, algorithm 3.3.
    """
    size = vector.size
    scale = jnp.linalg.norm(matrix) / jnp.sqrt(jnp.asarray(size, matrix.dtype))
    smallest = jnp.where(scale > 0, 1e-3 * scale, 1)

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


def newton(damping: Scalar = 1e-3, *, block: int = 32) -> optax.GradientTransformationExtraArgs:
    """Damped Newton: the step solves (H + lambda I) p = -gradient, then is shortened until the loss falls.

    `update` needs ``value``, ``grad`` and ``value_fn``. Where H + lambda I is not positive definite a larger multiple
    of the identity is added (`damped_solve`), so the direction always descends.

    damping: lambda >= 0, traced; `block`: columns of the Hessian in memory together.

    Cost:    n Hessian-vector products, n^3/3 multiplications and 2 n^2 numbers a step: for small n.
    Raises:  ValueError if damping is negative where it can be seen.
    Source:  CS231n lecture 7 (the Newton parameter update); Nocedal & Wright 2006, section 3.4.
    """
    require_nonnegative("newton", damping=damping)

    def init(params: PyTree) -> NewtonState:
        flat, _ = ravel(params)
        return NewtonState(counts.none(), jnp.zeros((), flat.dtype), jnp.zeros((), bool))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, value, gradient, unravel = flatten("newton", params, extra)
        matrix = hessian(fun, point, block=block)
        direction, added = damped_solve(matrix, -gradient, damping)
        found = backtracking(fun, point, direction, value, gradient)
        moved = found.step > 0
        used = state.counts.plus(loss=found.evaluations, gradient=1, hessian=1)
        return unravel(jnp.where(moved, found.step * direction, 0)), NewtonState(used, added, ~moved)

    return optax.GradientTransformationExtraArgs(init, update)
