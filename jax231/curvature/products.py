"""Products with the Hessian and the Gauss-Newton matrix without the matrices, and the matrices where they fit."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.curvature.checked import require_parameters, scalar
from jax231.curvature.placement import gathered, placed

Product = Callable[[PyTree], PyTree]
"""A linear map on vectors that have the structure of the parameters: ``vector -> matrix @ vector``."""


def hvp(fun: Callable[[PyTree], jax.Array], params: PyTree, vector: PyTree) -> PyTree:
    """The Hessian of `fun` at `params` times `vector`, forward over reverse.

    Cost:    about two gradients.
    Raises:  ValueError where `fun` does not return one real number, for parameters that are not floating point numbers.
    Source:  Pearlmutter 1994, equation 3.
    """
    require_parameters("hvp", params)
    return jax.jvp(jax.grad(scalar("hvp", fun)), (params,), (vector,))[1]


def linearized_hvp(fun: Callable[[PyTree], jax.Array], params: PyTree) -> tuple[PyTree, Product]:
    """The gradient of `fun` at `params`, and the map ``vector -> Hessian @ vector`` there.

    The map is a pytree of what it keeps, so a compiled function may return it and another may take it.

    Cost:    one gradient once, then each product less than two: what depends on `params` alone is kept.
    Raises:  ValueError where `fun` does not return one real number, for parameters that are not floating point numbers.
    """
    where = "linearized_hvp"
    require_parameters(where, params)
    return jax.linearize(jax.grad(scalar(where, fun)), params)


def ggnvp(
    outputs_fn: Callable[[PyTree], PyTree],
    outputs_loss: Callable[[PyTree], jax.Array],
    params: PyTree,
    vector: PyTree,
) -> PyTree:
    """The generalised Gauss-Newton matrix of ``outputs_loss(outputs_fn(params))`` times `vector`.

    The matrix is J'HJ with the Jacobian J of `outputs_fn` (any pytree of outputs) and the Hessian H of `outputs_loss`:
    the Hessian less the curvature of the model itself, positive semidefinite where the loss is convex in the outputs.

    Cost:    about one and a half gradients.
    Raises:  ValueError as `linearized_ggnvp`.
    Source:  Schraudolph 2002, section 3; Martens 2010 (Hessian-free optimization).
    """
    return linearized_ggnvp(outputs_fn, outputs_loss, params)[1](vector)


def linearized_ggnvp(
    outputs_fn: Callable[[PyTree], PyTree],
    outputs_loss: Callable[[PyTree], jax.Array],
    params: PyTree,
) -> tuple[PyTree, Product]:
    """The gradient of ``outputs_loss(outputs_fn(params))``, and the map ``vector -> J'HJ @ vector`` at `params`.

    The map is a pytree of what it keeps, so a compiled function may return it and another may take it.

    Cost:    one gradient once, then each product little more than one.
    Raises:  ValueError where `outputs_loss` does not return one real number, for parameters that are not floating point
             numbers.
    """
    where = "linearized_ggnvp"
    require_parameters(where, params)
    outputs, forward = jax.linearize(outputs_fn, params)
    slope, bend = jax.linearize(jax.grad(scalar(where, outputs_loss)), outputs)
    return jax.linear_transpose(forward, params)(slope)[0], jax.tree_util.Partial(_gauss_newton, forward, bend)


def _gauss_newton(forward: Product, bend: Product, vector: PyTree) -> PyTree:
    return jax.linear_transpose(forward, vector)(bend(forward(vector)))[0]


def dense(product: Product, like: PyTree, *, block: int = 16) -> Float[Array, "n n"]:
    """The matrix of a linear map on vectors like the tree `like`, in the order of `tree.ravel`.

    Shapes:  `like` with n scalars -> (n, n).
    Cost:    n products, `block` of them in memory together; more are no faster on a CPU, whose caches they outgrow.
    Raises:  ValueError if `block` is below 1, for vectors that are not of floating point numbers.
    """
    return _rows("dense", product, like, block).T


def hessian(fun: Callable[[PyTree], jax.Array], params: PyTree, *, block: int = 16) -> Float[Array, "n n"]:
    """The dense symmetric Hessian over all parameters in the order of `tree.ravel`, `block` columns at a time.

    Shapes:  params with n scalars -> (n, n).
    Cost:    n products of `linearized_hvp`, `block` of them in memory together, as in `dense`.
    Raises:  ValueError if `block` is below 1; as `linearized_hvp`.
    """
    return _symmetric(_rows("hessian", linearized_hvp(fun, params)[1], params, block))


def ggn(
    outputs_fn: Callable[[PyTree], PyTree],
    outputs_loss: Callable[[PyTree], jax.Array],
    params: PyTree,
    *,
    block: int = 16,
) -> Float[Array, "n n"]:
    """The dense symmetric generalised Gauss-Newton matrix in the order of `tree.ravel`, `block` columns at a time.

    Shapes:  params with n scalars -> (n, n).
    Cost:    n products of `linearized_ggnvp`, `block` of them in memory together, as in `dense`.
    Raises:  ValueError if `block` is below 1; as `linearized_ggnvp`.
    """
    return _symmetric(_rows("ggn", linearized_ggnvp(outputs_fn, outputs_loss, params)[1], params, block))


def _rows(where: str, product: Product, like: PyTree, block: int) -> jax.Array:
    """``product(e_i)`` as row i, for every unit vector e_i like the tree `like`."""
    require(block >= 1, where, "a block of at least one column", block=block)
    require_parameters(where, like)
    flat, unravel = tree.ravel(gathered(like))
    block = min(block, flat.size)
    indices = jnp.arange(-(-flat.size // block) * block).reshape(-1, block)

    def row(index: jax.Array) -> jax.Array:
        column = unravel(jax.nn.one_hot(index, flat.size, dtype=flat.dtype))
        return tree.ravel(gathered(product(placed(column, like))))[0]

    return jax.lax.map(jax.vmap(row), indices).reshape(-1, flat.size)[: flat.size]


def _symmetric(matrix: jax.Array) -> jax.Array:
    return (matrix + matrix.T) / 2
