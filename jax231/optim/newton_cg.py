"""Newton-CG: Newton's equations solved as far as it pays, from Hessian-vector products alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.curvature.products import linearized_hvp
from jax231.optim import counts
from jax231.optim.flat import flatten
from jax231.optim.linesearch import backtracking

Vector = Float[Array, " n"]


class NewtonCgState(NamedTuple):
    """What was used, the CG iterations of the last step, and whether its line search failed."""

    counts: counts.Counts
    cg_iterations: Int[Array, ""]
    stalled: Bool[Array, ""]


class Truncated(NamedTuple):
    """An approximate solution, the products it took, and whether negative curvature ended it."""

    solution: Vector
    products: Int[Array, ""]
    negative: Bool[Array, ""]


def truncated_cg(
    product: Callable[[Vector], Vector], vector: Vector, tolerance: Float[Array, ""], limit: int
) -> Truncated:
    """Conjugate gradients for ``product(x) = vector`` from x = 0, until the residual's norm is at most `tolerance`.

    Stops before a direction of non-positive curvature is followed; if that is the very first, the solution is `vector`
    itself, so the result always has a positive inner product with `vector`.

    Source: Nocedal & Wright 2006, algorithm 7.1 (line search Newton-CG).
    """

    def going(carry):
        _, residual, _, iteration, negative = carry
        return (tree.dot(residual, residual) > tolerance**2) & (iteration < limit) & ~negative

    def advance(carry):
        solution, residual, direction, iteration, _ = carry
        image = product(direction)
        curvature = tree.dot(direction, image)
        negative = ~(curvature > 0)
        square = tree.dot(residual, residual)
        length = jnp.where(negative, 0, square / jnp.where(negative, 1, curvature))
        first = negative & (iteration == 0)
        solution = jnp.where(first, vector, solution + length * direction)
        residual = residual - length * image
        direction = residual + tree.dot(residual, residual) / square * direction
        return solution, residual, direction, iteration + 1, negative

    zero = jnp.zeros((), jnp.int32)
    carry = (jnp.zeros_like(vector), vector, vector, zero, jnp.zeros((), bool))
    solution, _, _, products, negative = jax.lax.while_loop(going, advance, carry)
    return Truncated(solution, products, negative)


def newton_cg(damping: Scalar = 1e-3, *, cg_limit: int = 50) -> optax.GradientTransformationExtraArgs:
    """Truncated Newton: CG on (H + lambda I) p = -gradient, then backtracking until the loss falls.

    `update` needs ``value``, ``grad`` and ``value_fn``. CG stops at a residual of min(1/2, sqrt|g|) |g|, which makes
    the convergence superlinear, at negative curvature, or after `cg_limit` products. `newton_cg_trust` has a
    trust region in place of the line search, and uses negative curvature.

    damping: lambda >= 0, traced.

    Cost:    5 copies of the parameters; a step takes two gradients (one of them to linearize) and some hvps.
    Raises:  ValueError if damping is negative where it can be seen, or `cg_limit` is below 1.
    Source:  Nocedal & Wright 2006, algorithm 7.1; Martens 2010 for the damping.
    """
    require(cg_limit >= 1, "newton_cg", "at least one CG iteration", cg_limit=cg_limit)
    require_nonnegative("newton_cg", damping=damping)

    def init(params: PyTree) -> NewtonCgState:
        del params
        return NewtonCgState(counts.none(), jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, value, gradient, unravel = flatten("newton_cg", params, extra)
        _, product = linearized_hvp(fun, point)
        shift = jnp.asarray(damping, point.dtype)
        length = tree.norm(gradient)
        tolerance = jnp.minimum(0.5, jnp.sqrt(length)) * length
        solved = truncated_cg(lambda v: product(v) + shift * v, -gradient, tolerance, cg_limit)
        found = backtracking(fun, point, solved.solution, value, gradient)
        moved = found.step > 0
        used = state.counts.plus(loss=found.evaluations, gradient=2, hvp=solved.products)
        step = jnp.where(moved, found.step * solved.solution, 0)
        return unravel(step), NewtonCgState(used, solved.products, ~moved)

    return optax.GradientTransformationExtraArgs(init, update)
