"""Products with the Hessian and the Gauss-Newton matrix without the matrices, and the matrices where they fit."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import PyTree

Product = Callable[[PyTree], PyTree]
"""A linear map on vectors that have the structure of the parameters: ``vector -> matrix @ vector``."""


def hvp(fun: Callable[[PyTree], jax.Array], params: PyTree, vector: PyTree) -> PyTree:
    """The Hessian of `fun` at `params` times `vector`, forward over reverse.

    Cost:    about two gradients.
    Source:  Pearlmutter 1994, equation 3.
    """
    return jax.jvp(jax.grad(fun), (params,), (vector,))[1]


def linearized_hvp(fun: Callable[[PyTree], jax.Array], params: PyTree) -> tuple[PyTree, Product]:
    """The gradient of `fun` at `params`, and the map ``vector -> Hessian @ vector`` there.

    Cost:    one gradient once, then each product less than two: what depends on `params` alone is kept.
    """
    return jax.linearize(jax.grad(fun), params)


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
    Source:  Schraudolph 2002, section 3; Martens 2010 (Hessian-free optimization).
    """
    return linearized_ggnvp(outputs_fn, outputs_loss, params)[1](vector)


def linearized_ggnvp(
    outputs_fn: Callable[[PyTree], PyTree],
    outputs_loss: Callable[[PyTree], jax.Array],
    params: PyTree,
) -> tuple[PyTree, Product]:
    """The gradient of ``outputs_loss(outputs_fn(params))``, and the map ``vector -> J'HJ @ vector`` at `params`.

    Cost:    one gradient once, then each product little more than one.
    """
    outputs, forward = jax.linearize(outputs_fn, params)
    backward = jax.linear_transpose(forward, params)
    slope, bend = jax.linearize(jax.grad(outputs_loss), outputs)

    def product(vector: PyTree) -> PyTree:
        return backward(bend(forward(vector)))[0]

    return backward(slope)[0], product


def dense(product: Product, like: PyTree, *, block: int = 32) -> Float[Array, "n n"]:
    """The matrix of a linear map on vectors like the tree `like`, in the order of `tree.ravel`.

    Shapes:  `like` with n scalars -> (n, n).
    Cost:    n products, `block` of them in memory together.
    Raises:  ValueError if `block` is below 1.
    """
    require(block >= 1, "dense", "a block of at least one column", block=block)
    flat, unravel = tree.ravel(like)
    return _columns(lambda vector: tree.ravel(product(unravel(vector)))[0], flat, block).T


def hessian(fun: Callable[[PyTree], jax.Array], params: PyTree, *, block: int = 32) -> Float[Array, "n n"]:
    """The dense symmetric Hessian over all parameters in the order of `tree.ravel`, `block` columns at a time.

    Shapes:  params with n scalars -> (n, n).
    Cost:    n Hessian-vector products, `block` of them in memory together.
    Raises:  ValueError if `block` is below 1.
    """
    require(block >= 1, "hessian", "a block of at least one column", block=block)
    point, unravel = tree.ravel(params)
    _, product = linearized_hvp(lambda flat: fun(unravel(flat)), point)
    return _symmetric(_columns(product, point, block))


def ggn(
    outputs_fn: Callable[[PyTree], PyTree],
    outputs_loss: Callable[[PyTree], jax.Array],
    params: PyTree,
    *,
    block: int = 32,
) -> Float[Array, "n n"]:
    """The dense symmetric generalised Gauss-Newton matrix in the order of `tree.ravel`, `block` columns at a time.

    Shapes:  params with n scalars -> (n, n).
    Cost:    n products of `linearized_ggnvp`, `block` of them in memory together.
    Raises:  ValueError if `block` is below 1.
    """
    require(block >= 1, "ggn", "a block of at least one column", block=block)
    point, unravel = tree.ravel(params)
    _, product = linearized_ggnvp(lambda flat: outputs_fn(unravel(flat)), outputs_loss, point)
    return _symmetric(_columns(product, point, block))


def _columns(product: Callable[[jax.Array], jax.Array], like: jax.Array, block: int) -> jax.Array:
    """``product(e_i)`` as row i, for every unit vector e_i like the flat vector `like`."""
    size = like.size
    block = min(block, size)
    indices = jnp.arange(-(-size // block) * block).reshape(-1, block)

    def some(indices: jax.Array) -> jax.Array:
        return jax.vmap(product)(jax.nn.one_hot(indices, size, dtype=like.dtype))

    return jax.lax.map(some, indices).reshape(-1, size)[:size]


def _symmetric(matrix: jax.Array) -> jax.Array:
    return (matrix + matrix.T) / 2
