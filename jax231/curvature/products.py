"""Hessian-vector products without the Hessian, and the Hessian itself where it fits."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import PyTree


def hvp(fun: Callable[[PyTree], jax.Array], params: PyTree, vector: PyTree) -> PyTree:
    """The Hessian of `fun` at `params` times `vector`, forward over reverse.

    Cost:    about two gradients.
    Source:  Pearlmutter 1994, equation 3.
    """
    return jax.jvp(jax.grad(fun), (params,), (vector,))[1]


def linearized_hvp(fun: Callable[[PyTree], jax.Array], params: PyTree) -> tuple[PyTree, Callable[[PyTree], PyTree]]:
    """The gradient of `fun` at `params`, and the map ``vector -> Hessian @ vector`` there.

    Cost:    one gradient once, then each product less than two: what depends on `params` alone is kept.
    """
    return jax.linearize(jax.grad(fun), params)


def hessian(fun: Callable[[PyTree], jax.Array], params: PyTree, *, block: int = 32) -> Float[Array, "n n"]:
    """The dense symmetric Hessian over all parameters in the order of `tree.ravel`, `block` columns at a time.

    Shapes:  params with n scalars -> (n, n).
    Cost:    n Hessian-vector products, `block` of them in memory together.
    Raises:  ValueError if `block` is below 1.
    """
    require(block >= 1, "hessian", "a block of at least one column", block=block)
    point, unravel = tree.ravel(params)
    _, product = jax.linearize(jax.grad(lambda flat: fun(unravel(flat))), point)
    size = point.size
    block = min(block, size)
    columns = jnp.arange(-(-size // block) * block).reshape(-1, block)

    def some(indices):
        return jax.vmap(product)(jax.nn.one_hot(indices, size, dtype=point.dtype))

    rows = jax.lax.map(some, columns).reshape(-1, size)[:size]
    return (rows + rows.T) / 2
