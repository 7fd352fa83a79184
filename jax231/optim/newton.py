"""Newton's method with the dense Hessian: as the course writes it, and safe against Hessians that are indefinite.

Newton's equations ``H p = -gradient`` lead downhill only where H is positive definite. Each of the three solvers here
puts a positive definite matrix in place of ``H + damping I`` where it must, and tells the norm of what it added.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.curvature.products import hessian
from jax231.optim import counts
from jax231.optim.flat import flatten, ravel
from jax231.optim.linesearch import backtracking

Vector = Float[Array, " n"]
Matrix = Float[Array, "n n"]


class NewtonState(NamedTuple):
    """What was used, the norm of what the last step added to the Hessian, and whether it failed to descend."""

    counts: counts.Counts
    added: Float[Array, ""]
    stalled: Bool[Array, ""]


def damped_solve(matrix: Matrix, vector: Vector, damping: Scalar) -> tuple[Vector, Float[Array, ""]]:
    """Solve (matrix + tau I) x = vector with tau = damping, or the first larger one that is positive definite.

    tau grows by factors of 10, from at least sqrt(eps) of the root mean square of the eigenvalues on, until Cholesky's
    method succeeds with pivots that are more than rounding; the tau that was used comes back too. So a matrix that is
    singular, as of a softmax whose biases are free to move together, hardly slows the convergence.

    Source: Nocedal & Wright 2006, algorithm 3.3.
    """
    size = vector.size
    scale = jnp.linalg.norm(matrix) / jnp.sqrt(jnp.asarray(size, matrix.dtype))
    smallest = jnp.where(scale > 0, jnp.finfo(matrix.dtype).eps ** 0.5 * scale, 1)

    def factor(tau):
        return jnp.linalg.cholesky(matrix + tau * jnp.eye(size, dtype=matrix.dtype))

    def failed(carry):
        tau, root, tries = carry
        rounding = jnp.finfo(matrix.dtype).eps * (jnp.max(jnp.abs(matrix)) + tau)
        return ~(jnp.min(jnp.diagonal(root)) ** 2 > rounding) & (tries < 40)  # NaN where Cholesky's method failed

    def again(carry):
        tau, _, tries = carry
        tau = jnp.maximum(10 * tau, smallest)
        return tau, factor(tau), tries + 1

    tau = jnp.asarray(damping, matrix.dtype)
    tau, root, _ = jax.lax.while_loop(failed, again, (tau, factor(tau), jnp.zeros((), jnp.int32)))
    return jax.scipy.linalg.cho_solve((root, True), vector), tau


def absolute_solve(matrix: Matrix, vector: Vector, damping: Scalar) -> tuple[Vector, Float[Array, ""]]:
    """Solve (|matrix| + damping I) x = vector, where |matrix| has the absolute values of the eigenvalues.

    Along a direction of negative curvature the step is as long as Newton's and points downhill, hence "saddle-free".

    Source: Dauphin et al. 2014 (arXiv:1406.2572), algorithm 1, in the space of all parameters.
    """
    eigenvalues, basis = jnp.linalg.eigh(matrix)
    magnitudes = jnp.abs(eigenvalues)
    lifted = jnp.maximum(magnitudes + jnp.asarray(damping, matrix.dtype), _least(magnitudes))
    coordinates = jnp.matmul(vector, basis, precision="highest") / lifted
    return jnp.matmul(basis, coordinates, precision="highest"), jnp.max(lifted - eigenvalues)


class Factors(NamedTuple):
    """``matrix + diag(added) = rows' diag(pivots) rows``, where ``rows[:, order]`` is unit upper triangular."""

    rows: Matrix
    pivots: Vector
    order: Int[Array, " n"]
    added: Vector


def modified_cholesky(matrix: Matrix) -> Factors:
    """Factors of `matrix`, or of the positive definite one that adding a small diagonal makes of it.

    Pivots come in the order of what is left of the diagonal, the largest first. A positive definite matrix is factored
    as it is; of any other the factors stay bounded.

    Cost:    n^3 multiplications, in n products of a vector with the rows so far.
    Source:  Gill, Murray & Wright 1981, section 4.4.2.2; Nocedal & Wright 2006, section 3.4.
    """
    size = matrix.shape[0]
    diagonal = jnp.diagonal(matrix)
    off_diagonal = jnp.max(jnp.abs(matrix - jnp.diag(diagonal)))
    least = _least(matrix)
    bound = jnp.maximum(jnp.max(jnp.abs(diagonal)), off_diagonal / max(size**2 - 1, 1) ** 0.5)
    bound = jnp.maximum(bound, least)

    def eliminate(j, carry):
        (rows, pivots, order, added), diagonal, left = carry
        chosen = jnp.argmax(jnp.where(left, jnp.abs(diagonal), -1))
        left = left.at[chosen].set(False)
        known = jnp.matmul(pivots * rows[:, chosen], rows, precision="highest")
        column = jnp.where(left, matrix[chosen] - known, 0)
        pivot = jnp.maximum(jnp.abs(diagonal[chosen]), jnp.max(jnp.abs(column)) ** 2 / bound)
        pivot = jnp.maximum(pivot, least)
        row = (column / pivot).at[chosen].set(1)
        factors = Factors(
            rows.at[j].set(row),
            pivots.at[j].set(pivot),
            order.at[j].set(chosen.astype(order.dtype)),
            added.at[chosen].set(pivot - diagonal[chosen]),
        )
        return factors, diagonal - pivot * row**2, left

    zeros = jnp.zeros_like(diagonal)
    empty = Factors(jnp.zeros_like(matrix), zeros, jnp.zeros(size, jnp.int32), zeros)
    return jax.lax.fori_loop(0, size, eliminate, (empty, diagonal, jnp.ones(size, bool)))[0]


def modified_cholesky_solve(matrix: Matrix, vector: Vector, damping: Scalar) -> tuple[Vector, Float[Array, ""]]:
    """Solve (matrix + damping I + E) x = vector with the diagonal E of `modified_cholesky`, zero where none is needed.

    Source: Gill, Murray & Wright 1981, section 4.4.2.2.
    """
    damping = jnp.asarray(damping, matrix.dtype)
    rows, pivots, order, added = modified_cholesky(matrix + damping * jnp.eye(vector.size, dtype=matrix.dtype))
    upper = rows[:, order]
    forward = jax.scipy.linalg.solve_triangular(upper, vector[order], trans=1, unit_diagonal=True)
    solution = jax.scipy.linalg.solve_triangular(upper, forward / pivots, unit_diagonal=True)
    return jnp.zeros_like(vector).at[order].set(solution), damping + jnp.max(added)


def _least(numbers: Array) -> Float[Array, ""]:
    """The smallest eigenvalue to divide by, below which rounding hides it; 1 where all `numbers` are zero."""
    largest = jnp.max(jnp.abs(numbers))
    return jnp.where(largest > 0, numbers.shape[0] * jnp.finfo(numbers.dtype).eps * largest, 1)


Solve = Callable[[Matrix, Vector, Scalar], tuple[Vector, Float[Array, ""]]]
SOLVES: Mapping[str, Solve] = MappingProxyType(
    {"damping": damped_solve, "absolute": absolute_solve, "modified_cholesky": modified_cholesky_solve}
)
"""What to do where the Hessian is indefinite: ``solve(matrix, vector, damping) -> (solution, norm added)``."""


def newton(
    damping: Scalar = 0.0,
    *,
    indefinite: str = "damping",
    block: int = 32,
) -> optax.GradientTransformationExtraArgs:
    """Newton made safe: the step solves (H + lambda I) p = -gradient, then is shortened until the loss falls.

    `update` needs ``value``, ``grad`` and ``value_fn``. Where H + lambda I is not positive definite another matrix
    takes its place, so the direction always descends.

    damping: lambda >= 0, traced. With 0 convergence is quadratic; with more it is linear near the minimum, at a rate
        of lambda over lambda plus the smallest eigenvalue.
    indefinite: what takes its place. "damping" adds a larger multiple of the identity (`damped_solve`), "absolute"
        turns the negative eigenvalues round (`absolute_solve`, saddle-free Newton: the quickest to leave a saddle, at
        about ten times the cost of a factorization), "modified_cholesky" adds to single pivots
        (`modified_cholesky_solve`).
    block: columns of the Hessian in memory together.

    Cost:    n Hessian-vector products, n^3/3 multiplications or more and 2 n^2 numbers a step: for small n.
    Raises:  ValueError if damping is negative where it can be seen, or for another word than these three.
    Source:  CS231n lecture 7 (the Newton parameter update); Nocedal & Wright 2006, section 3.4.
    """
    require(indefinite in SOLVES, "newton", "indefinite to be one of " + ", ".join(SOLVES), indefinite=indefinite)
    return _globalised("newton", damping, SOLVES[indefinite], block)


def saddle_free_newton(damping: Scalar = 1e-3, *, block: int = 32) -> optax.GradientTransformationExtraArgs:
    """`newton` with the absolute values of the Hessian's eigenvalues: saddles repel it, as they repel descent.

    damping: lambda >= 0, traced. Around saddles of networks many eigenvalues are nearly zero; without it steps along
        them would be as good as endless.

    Cost:    as `newton`, with all eigenvectors in the place of a factorization, about ten times its multiplications.
    Raises:  ValueError if damping is negative where it can be seen.
    Source:  Dauphin et al. 2014 (arXiv:1406.2572), algorithm 1, in the space of all parameters.
    """
    return _globalised("saddle_free_newton", damping, absolute_solve, block)


def _globalised(where: str, damping: Scalar, solve: Solve, block: int) -> optax.GradientTransformationExtraArgs:
    require_nonnegative(where, damping=damping)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, value, gradient, unravel = flatten(where, params, extra)
        matrix = hessian(fun, point, block=block)
        direction, added = solve(matrix, -gradient, damping)
        found = backtracking(fun, point, direction, value, gradient)
        moved = found.step > 0
        used = state.counts.plus(loss=found.evaluations, gradient=1, hessian=1)
        return unravel(jnp.where(moved, found.step * direction, 0)), NewtonState(used, added, ~moved)

    return optax.GradientTransformationExtraArgs(_init, update)


def newton_pure(*, block: int = 32) -> optax.GradientTransformationExtraArgs:
    """The course's Newton step ``x -= H^-1 gradient``: "no hyperparameters, no learning rate", and no safety.

    It solves a quadratic at once and converges quadratically from near by. From elsewhere it goes to any point where
    the gradient vanishes, a saddle or a maximum as well, or diverges. `update` needs ``value``, ``grad`` and
    ``value_fn``; where H is singular or something is not a number the parameters stay, and the state is ``stalled``.

    block: columns of the Hessian in memory together.

    Cost:    n Hessian-vector products, 2 n^3/3 multiplications and 2 n^2 numbers a step.
    Source:  CS231n lecture 7 (the Newton parameter update).
    """

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, _, gradient, unravel = flatten("newton_pure", params, extra)
        step = -jnp.linalg.solve(hessian(fun, point, block=block), gradient)
        moved = jnp.isfinite(step).all() & (step != 0).any()
        used = state.counts.plus(gradient=1, hessian=1)
        return unravel(jnp.where(moved, step, 0)), NewtonState(used, jnp.zeros_like(state.added), ~moved)

    return optax.GradientTransformationExtraArgs(_init, update)


def _init(params: PyTree) -> NewtonState:
    flat, _ = ravel(params)
    return NewtonState(counts.none(), jnp.zeros((), flat.dtype), jnp.zeros((), bool))
