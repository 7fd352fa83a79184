"""Truncated Newton steps: a damped system solved by conjugate gradients as far as it pays, then a line search."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.optim import counts
from jax231.optim.arguments import required
from jax231.optim.dtypes import require_floating_leaves
from jax231.optim.flat import Flat, flatten
from jax231.optim.linesearch import backtracking

Vector = Float[Array, " n"]
Product = Callable[[Vector], Vector]


class TruncatedNewtonState(NamedTuple):
    """What was used, the CG iterations of the last step, and whether its line search failed."""

    counts: counts.Counts
    cg_iterations: Int[Array, ""]
    stalled: Bool[Array, ""]


class Truncated(NamedTuple):
    """An approximate solution, the products it took, and whether negative curvature ended it."""

    solution: Vector
    products: Int[Array, ""]
    negative: Bool[Array, ""]


def truncated_cg(product: Product, vector: Vector, tolerance: Float[Array, ""], limit: int) -> Truncated:
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


def residual_allowed(gradient: Vector) -> Float[Array, ""]:
    """min(1/2, sqrt|g|) |g|: where CG may stop for the steps on a convex loss to converge superlinearly.

    Source: Nocedal & Wright 2006, equation 7.3 and algorithm 7.1.
    """
    length = tree.norm(gradient)
    return jnp.minimum(0.5, jnp.sqrt(length)) * length


def truncated_newton(
    where: str,
    damping: Scalar,
    cg_limit: int,
    linearized: Callable[[Flat, dict[str, Any]], Product],
    counted: str,
    needs: tuple[str, ...] = (),
) -> optax.GradientTransformationExtraArgs:
    """The optimizer `where`: CG on (A + lambda I) p = -gradient, then backtracking until the loss falls.

    linearized: the product with A at a point, from the objective there and the extra arguments of ``update``.
    counted: what such a product is in `counts.Counts`; needs: extra arguments besides ``value grad value_fn``.

    Raises: ValueError if damping is negative where it can be seen, or `cg_limit` is below 1.
    """
    require(cg_limit >= 1, where, "at least one CG iteration", cg_limit=cg_limit)
    require_nonnegative(where, damping=damping)

    def init(params: PyTree) -> TruncatedNewtonState:
        require_floating_leaves(where, params)
        return TruncatedNewtonState(counts.none(), jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        required(where, extra, "value", "grad", "value_fn", *needs)
        flat = flatten(where, params, extra)
        fun, point, value, gradient, unravel = flat
        product = linearized(flat, extra)
        shift = jnp.asarray(damping, point.dtype)
        solved = truncated_cg(lambda v: product(v) + shift * v, -gradient, residual_allowed(gradient), cg_limit)
        found = backtracking(fun, point, solved.solution, value, gradient)
        moved = found.step > 0
        used = state.counts.plus(loss=found.evaluations, gradient=2, **{counted: solved.products})
        step = jnp.where(moved, found.step * solved.solution, 0)
        return unravel(step), TruncatedNewtonState(used, solved.products, ~moved)

    return optax.GradientTransformationExtraArgs(init, update)
