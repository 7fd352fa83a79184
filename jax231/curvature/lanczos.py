"""Eigenvalues of a curvature matrix from its products with vectors: Lanczos with full reorthogonalisation."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import Key, PyTree, Scalar
from jax231.curvature.checked import require_parameters
from jax231.curvature.products import Product
from jax231.curvature.vectors import (
    combination,
    narrow,
    normal,
    put,
    rounding,
    unit,
    wide,
    widened,
    without,
    zero_stack,
)

_ORDERS = {"largest": jnp.negative, "smallest": jnp.positive, "magnitude": lambda values: -jnp.abs(values)}
"""What ascends from the eigenvalue asked for first."""


class Tridiagonal(NamedTuple):
    """``A Q = Q T``, but for what sticks out of the last column: the matrix A seen in the orthonormal basis Q."""

    basis: PyTree
    """The columns of Q as a stack, one vector a step."""
    diagonal: Float[Array, " m"]
    beside: Float[Array, " m"]
    """Beside the diagonal of T; the last entry is the length of what sticks out."""

    @property
    def matrix(self) -> Float[Array, "m m"]:
        """T as a dense matrix."""
        return jnp.diag(self.diagonal) + jnp.diag(self.beside[:-1], 1) + jnp.diag(self.beside[:-1], -1)


class Eigenpairs(NamedTuple):
    """Approximate eigenvalues in the order asked for, eigenvectors of length 1 as a stack, and bounds of the errors."""

    values: Float[Array, " k"]
    vectors: PyTree
    residuals: Float[Array, " k"]
    """``|A v - value v|``: of a symmetric A an eigenvalue lies within this distance of the value."""


class Condition(NamedTuple):
    """The condition number and the two eigenvalues it is the ratio of, largest and smallest, with their residuals."""

    number: Float[Array, ""]
    """Infinite where the smallest eigenvalue is not positive."""
    eigenvalues: Float[Array, "2"]
    residuals: Float[Array, "2"]


def lanczos(product: Product, start: PyTree, key: Key, *, steps: int) -> Tridiagonal:
    """Run Lanczos' process for a symmetric operator from `start`; each new vector is made orthogonal to all before.

    Where the vectors so far span an invariant subspace the process goes on, decoupled, with a random vector drawn by
    `key`, so that T always has `steps` rows (or as many as there are parameters, if they are fewer).

    Cost:    `steps` products; the basis is `steps` vectors in float32 at least.
    Raises:  ValueError for less than one step, for parameters that are not floating point numbers.
    Source:  Lanczos 1950; Golub and Van Loan 2013, algorithm 10.1.1 with the reorthogonalisation of section 10.3.
    """
    require(steps >= 1, "lanczos", "at least one step", steps=steps)
    require_parameters("lanczos", start)
    steps = min(steps, tree.size(start))
    apply = widened(product, start)

    def step(carry: tuple[PyTree, PyTree], place: jax.Array):
        basis, vector = carry
        basis = put(basis, place, vector)
        image = apply(vector)
        rest = without(image, basis)
        ended = tree.norm(rest) <= rounding(tree.norm(image))
        rest = jax.lax.cond(ended, lambda: normal(jax.random.fold_in(key, place), start), lambda: rest)
        rest = without(rest, basis)  # the second time: once is not orthogonal to rounding
        return (basis, unit(rest)), (tree.dot(vector, image), jnp.where(ended, 0, tree.norm(rest)))

    carry = zero_stack(steps, start), unit(wide(start))
    (basis, _), (diagonal, beside) = jax.lax.scan(step, carry, jnp.arange(steps))
    return Tridiagonal(basis, diagonal, beside)


def eigenpairs(
    product: Product, like: PyTree, key: Key, *, count: int = 1, steps: int = 32, end: str = "largest"
) -> Eigenpairs:
    """The `count` outermost eigenpairs of a symmetric operator on vectors like the tree `like`.

    end: "largest" and "smallest" eigenvalues, or those of largest "magnitude", the outermost first.

    Take several times as many steps as pairs; whether they were enough is what the residuals say. A multiple eigenvalue
    is found once only, until its first copy has converged to rounding.

    Shapes:  values and residuals (count,), vectors a stack; in float32 at least.
    Cost:    `steps` + `count` products; the basis is `steps` vectors.
    Raises:  ValueError for another `end`, less than one pair, more pairs than steps or parameters, for parameters that
             are not floating point numbers.
    Source:  Parlett 1998, section 13.2; the bound is theorem 4.5.1.
    """
    where = "eigenpairs"
    require(end in _ORDERS, where, f"an end among {', '.join(_ORDERS)}", end=end)
    limit = min(steps, tree.size(like))
    require(1 <= count <= limit, where, "from one pair up to the number of steps and parameters",
            count=count, steps=steps, parameters=tree.size(like))  # fmt: skip
    return _outermost(product, like, key, steps, lambda values: jnp.argsort(_ORDERS[end](values))[:count])


def condition_number(product: Product, like: PyTree, key: Key, *, steps: int = 32, damping: Scalar = 0.0) -> Condition:
    """The ratio of the largest to the smallest eigenvalue of a positive definite ``A + damping * I``.

    Both come from one run and lie within the spectrum, so the ratio is a lower bound, and it rises with the steps. The
    smallest eigenvalue converges slowly where it is crowded; its residual against its size says how far to trust it.

    Cost:    `steps` + 2 products.
    Raises:  ValueError for less than two steps, for parameters that are not floating point numbers.
    """
    require(steps >= 2, "condition_number", "at least two steps", steps=steps)
    found = _outermost(product, like, key, steps, lambda values: jnp.array([values.size - 1, 0]))
    values = found.values + damping
    largest, smallest = values
    number = jnp.where(smallest > 0, largest / jnp.where(smallest > 0, smallest, 1), jnp.inf)
    return Condition(number, values, found.residuals)


def _outermost(
    product: Product, like: PyTree, key: Key, steps: int, choose: Callable[[jax.Array], jax.Array]
) -> Eigenpairs:
    """The pairs that `choose` names by their places among the ascending eigenvalues of T, from a random start."""
    key_start, key_rest = jax.random.split(key)
    found = lanczos(product, narrow(normal(key_start, like), like), key_rest, steps=steps)
    values, rotation = jnp.linalg.eigh(found.matrix)
    chosen = choose(values)
    values, vectors = values[chosen], jax.vmap(unit)(combination(rotation[:, chosen].T, found.basis))
    apply = widened(product, like)

    def residual(pair: tuple[jax.Array, PyTree]) -> jax.Array:
        value, vector = pair
        return tree.norm(tree.axpy(-value, vector, apply(vector)))

    return Eigenpairs(values, vectors, jax.lax.map(residual, (values, vectors)))
