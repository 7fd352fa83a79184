"""BFGS: a quasi-Newton method that keeps an approximation of the inverse Hessian as a dense matrix.

The course says that quasi-Newton methods "approximate the inverse Hessian with rank 1 updates over time (O(n^2) each)".
To the letter that is SR1 (`jax231.optim.sr1`); BFGS, which it calls the most popular, makes updates of rank 2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.optim import counts, reuse
from jax231.optim.flat import flatten, ravel
from jax231.optim.linesearch import at_most_one, strong_wolfe
from jax231.optim.secant import curvature as curvature_of

Vector = Float[Array, " n"]
Matrix = Float[Array, "n n"]


class BfgsState(NamedTuple):
    """The inverse Hessian (the identity until `started`), the evaluation at the new point, and what was used."""

    inverse: Matrix
    started: Bool[Array, ""]
    kept: reuse.Kept
    counts: counts.Counts
    stalled: Bool[Array, ""]
    iterations: Int[Array, ""]


def update_inverse(inverse: Matrix, step: Vector, difference: Vector) -> Matrix:
    """The symmetric matrix nearest to `inverse` that takes `difference` to `step`; it differs by one of rank 2.

    It is positive definite if `inverse` is and step . difference > 0, which is for the caller to see to.

    Cost:    4 n^2 multiplications.
    Source:  Nocedal & Wright 2006, equation 6.17, multiplied out.
    """
    product = tree.dot(step, difference)
    image = jnp.matmul(inverse, difference, precision="highest")
    half = ((1 + tree.dot(difference, image) / product) * step / 2 - image) / product
    return inverse + (jnp.outer(half, step) + jnp.outer(step, half))


def learn(
    inverse: Matrix, started: Bool[Array, ""], step: Vector, difference: Vector
) -> tuple[Matrix, Bool[Array, ""]]:
    """The updated inverse, scaled to s.y / y.y first unless `started`; and whether the pair had positive curvature.

    Source: Nocedal & Wright 2006, equation 6.20; the skip is that of section 6.1.
    """
    product, square, positive = curvature_of(step, difference)
    scale = jnp.where(started, 1, product / jnp.where(positive, square, 1))
    ones = jnp.ones_like(step)
    better = update_inverse(scale * inverse, *tree.where(positive, (step, difference), (ones, ones)))
    return jnp.where(positive, better, inverse), positive


def powell_damped(step: Vector, difference: Vector, image: Vector, *, share: float = 0.2) -> Vector:
    """`difference` moved towards `image`, the old Hessian times `step`, until it has `share` of its curvature.

    Source: Powell 1978; Nocedal & Wright 2006, procedure 18.2.
    """
    product, old = tree.dot(step, difference), tree.dot(step, image)
    short = product < share * old
    theta = jnp.where(short, (1 - share) * old / jnp.where(short, old - product, 1), 1)
    return theta * difference + (1 - theta) * image


def bfgs(
    damping: Scalar = 0.0,
    *,
    safeguard: str = "skip",
    curvature: float = 0.9,
    evaluations: int = 25,
) -> optax.GradientTransformationExtraArgs:
    """BFGS with the dense inverse Hessian and a strong Wolfe line search, for an objective without noise.

    `update` needs ``value``, ``grad`` and ``value_fn``. Value and gradient at the accepted point stay in the state
    (`reuse.value_and_grad`), so a good step costs one gradient. The first step is at most one long; after it the
    identity is scaled to the curvature found there. Where the search fails the matrix is dropped once and steepest
    descent tried; where that fails as well the state is ``stalled``. Parameters narrower than float32 round the new
    point, so nothing is kept for them.

    damping: lambda >= 0, traced; the approximated matrix is H + lambda I (each difference y becomes y + lambda s).
        0 is the classical method.
    safeguard: what to do with a pair of little or negative curvature, as a search leaves that was cut short. "skip"
        leaves it out where the curvature is not positive; "powell" mixes it with the old matrix (`powell_damped`).
    curvature: the line search ends at this share of the first slope; nearly 0 makes it exact.
    evaluations: at most so many a line search.

    Cost:    n^2 numbers and 6 n^2 multiplications a step, one gradient a good step.
    Raises:  ValueError if `evaluations` is below 1, for an unknown safeguard, or if damping is negative where it can be
        seen.
    Source:  Nocedal & Wright 2006, algorithm 6.1, equation 6.20 for the scaling; CS231n lecture 7.
    """
    require(safeguard in ("skip", "powell"), "bfgs", "safeguard to be skip or powell", safeguard=safeguard)
    require(evaluations >= 1, "bfgs", "at least one evaluation a line search", evaluations=evaluations)
    require_nonnegative("bfgs", damping=damping)

    def init(params: PyTree) -> BfgsState:
        flat, _ = ravel(params)
        started, stalled = jnp.zeros((), bool), jnp.zeros((), bool)
        identity = jnp.eye(flat.size, dtype=flat.dtype)
        return BfgsState(identity, started, reuse.nothing(params), counts.none(), stalled, jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, value, gradient, unravel = flatten("bfgs", params, extra)
        direction = -jnp.matmul(state.inverse, gradient, precision="highest")
        first = jnp.where(state.started, 1, at_most_one(gradient))
        evaluate = jax.value_and_grad(fun)
        found = strong_wolfe(
            evaluate, point, direction, value, gradient, first=first, curvature=curvature, limit=evaluations
        )
        moved = found.step > 0
        step = jnp.where(moved, found.step * direction, 0)
        difference = found.gradient - gradient + jnp.asarray(damping, step.dtype) * step
        if safeguard == "powell":  # the old Hessian times the step is -found.step * gradient, once there is one
            damped = powell_damped(step, difference, -found.step * gradient)
            difference = jnp.where(state.started, damped, difference)
        inverse, learned = learn(state.inverse, state.started, step, difference)
        inverse = jnp.where(moved, inverse, jnp.eye(point.size, dtype=point.dtype))
        used = state.counts.plus(gradient=found.evaluations + jnp.where(state.kept.known, 0, 1))
        kept = reuse.keep(params, found.value, found.gradient)
        stalled = ~moved & ~state.started
        new = BfgsState(inverse, moved & (state.started | learned), kept, used, stalled, state.iterations + 1)
        return unravel(step), new

    return optax.GradientTransformationExtraArgs(init, update)
