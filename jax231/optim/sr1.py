"""SR1: a quasi-Newton method with the symmetric update of rank one, inside a trust region.

The course says that quasi-Newton methods "approximate the inverse Hessian with rank 1 updates over time (O(n^2) each)".
That sentence is exact for SR1: the matrix changes by one of rank 1, and so does its inverse. BFGS, which the course
names there (`jax231.optim.bfgs`), changes both by a matrix of rank 2. Rank 1 leaves no room to stay positive definite;
in exchange the matrix becomes the Hessian itself, negative curvature included, on a quadratic after n independent
steps, however long they were.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.optim import counts, reuse
from jax231.optim.flat import flatten, ravel
from jax231.optim.trust_region import judge, require_radius, steihaug, undamped

Vector = Float[Array, " n"]
Matrix = Float[Array, "n n"]


class Sr1State(NamedTuple):
    """The Hessian (the identity until `started`), the radius, the evaluation at the new point, and what was used."""

    matrix: Matrix
    started: Bool[Array, ""]
    radius: Float[Array, ""]
    kept: reuse.Kept
    counts: counts.Counts
    stalled: Bool[Array, ""]
    iterations: Int[Array, ""]


def update_matrix(matrix: Matrix, step: Vector, difference: Vector) -> Matrix:
    """`matrix` changed by one of rank 1 so that it takes `step` to `difference`.

    Unchanged where the change would be huge for want of curvature along the step, or where it already fits.

    Cost:    2 n^2 multiplications.
    Source:  Nocedal & Wright 2006, equations 6.24 and 6.26, with sqrt(eps) for the bound r (1e-8 in float64).
    """
    error = difference - jnp.matmul(matrix, step, precision="highest")
    product = tree.dot(error, step)
    bound = jnp.sqrt(jnp.finfo(step.dtype).eps) * tree.norm(step) * tree.norm(error)
    sound = jnp.abs(product) > bound  # false for NaN as well
    error = jnp.where(sound, error, 0)
    return matrix + jnp.outer(error, error) / jnp.where(sound, product, 1)


def learn(matrix: Matrix, started: Bool[Array, ""], step: Vector, difference: Vector) -> tuple[Matrix, Bool[Array, ""]]:
    """The updated matrix, multiplied by |difference| / |step| first unless `started`; and whether there is a pair."""
    length = tree.norm(step)
    curvature = tree.norm(difference) / jnp.where(length > 0, length, 1)
    known = jnp.isfinite(curvature) & (curvature > 0)
    return update_matrix(jnp.where(known & ~started, curvature, 1) * matrix, step, difference), known


def sr1(damping: Scalar = 0.0, *, radius: Scalar = 1.0) -> optax.GradientTransformationExtraArgs:
    """SR1 with the dense Hessian and a trust region, for an objective without noise.

    `update` needs ``value``, ``grad`` and ``value_fn``. The step minimizes the model within the radius by conjugate
    gradients (`trust_region.steihaug`) and costs one gradient. The first step that lowers the loss scales the identity
    to the curvature found there; later ones that raise it are not taken, yet teach the matrix as well. Value and
    gradient of the point where the parameters then are stay in the state (`reuse.value_and_grad`). The state is
    ``stalled`` where the model does not fall, or the radius has become too small to move the parameters. Parameters
    narrower than float32 round the new point, so nothing is kept for them.

    damping: lambda >= 0, traced; the approximated matrix is H + lambda I (each difference y becomes y + lambda s). The
        trust region needs none. `radius`: the first one, traced.

    Cost:    n^2 numbers, one gradient a step; 2 n^2 multiplications besides, and n^2 each of up to 2n products.
    Raises:  ValueError if damping is negative or the radius not positive where they can be seen.
    Source:  Nocedal & Wright 2006, algorithm 6.2; Conn, Gould & Toint 1991 (Math. Program. 50). CS231n lecture 7.
    """
    require_nonnegative("sr1", damping=damping)
    require_radius("sr1", radius)

    def init(params: PyTree) -> Sr1State:
        flat, _ = ravel(params)
        started, stalled = jnp.zeros((), bool), jnp.zeros((), bool)
        kept = reuse.nothing(params)
        identity, size = jnp.eye(flat.size, dtype=flat.dtype), jnp.asarray(radius, flat.dtype)
        return Sr1State(identity, started, size, kept, counts.none(), stalled, jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, value, gradient, unravel = flatten("sr1", params, extra)
        shift = jnp.asarray(damping, point.dtype)
        length = tree.norm(gradient)
        tolerance = jnp.minimum(0.1, jnp.sqrt(length)) * length

        def product(vector):
            return jnp.matmul(state.matrix, vector, precision="highest")

        found = undamped(steihaug(product, -gradient, state.radius, tolerance, 2 * point.size), shift)
        trial, slope = jax.value_and_grad(fun)(point + found.step)
        taken = judge(value, trial, found, state.radius, poor=0.1, shrink=0.5)
        falls = found.decrease > 0
        moved = taken.accepted & falls
        size = jnp.where(falls, taken.radius, state.radius)
        stuck = size <= jnp.finfo(size.dtype).eps * tree.norm(point)
        matrix, known = learn(state.matrix, state.started, found.step, slope - gradient + shift * found.step)
        matrix = jnp.where(moved | state.started, matrix, state.matrix)
        kept = reuse.keep(params, *tree.where(moved, (trial, slope), (value, gradient)))
        used = state.counts.plus(gradient=1 + jnp.where(state.kept.known, 0, 1))
        new = Sr1State(matrix, state.started | (moved & known), size, kept, used, ~falls | stuck, state.iterations + 1)
        return unravel(jnp.where(moved, found.step, 0)), new

    return optax.GradientTransformationExtraArgs(init, update)
