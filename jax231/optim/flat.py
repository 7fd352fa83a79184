"""The objective of a second-order step as a function of one vector, whatever tree and types the parameters have."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.precision import statistics_dtype
from jax231.core.types import PyTree
from jax231.optim.arguments import required
from jax231.optim.dtypes import require_floating_leaves
from jax231.optim.objective import require_scalar, scalar

Vector = Float[Array, " n"]
Scalar = Float[Array, ""]


class Flat(NamedTuple):
    """The objective `fun` of a vector, its value and gradient at `point`, and the way back into the tree."""

    fun: Callable[[Vector], Scalar]
    point: Vector
    value: Scalar
    gradient: Vector
    unravel: Callable[[Vector], PyTree]


def ravel(params: PyTree) -> tuple[Vector, Callable[[Vector], PyTree]]:
    """All leaves as one vector of at least float32, and the way back into their own shapes and types.

    Raises: ValueError for leaves that are not of a floating type.
    """
    require_floating_leaves("optimizer", params)
    params = jax.tree.map(jnp.asarray, params)
    vector, back = tree.ravel(jax.tree.map(lambda x: x.astype(statistics_dtype(x.dtype)), params))

    def unravel(flat: Vector) -> PyTree:
        return jax.tree.map(lambda x, like: x.astype(like.dtype), back(flat), params)

    return vector, unravel


def flatten(where: str, params: PyTree, extra: Mapping[str, Any]) -> Flat:
    """The objective at `params` from the extra arguments ``value``, ``grad`` and ``value_fn`` of the optimizer `where`.

    Raises: ValueError naming the arguments that are missing, a parameter that is not of a floating type, or a loss that
            is not one number.
    """
    value, grad, value_fn = required(where, extra, "value", "grad", "value_fn")
    require_scalar(where, value)
    loss = scalar(where, value_fn)
    point, unravel = ravel(params)
    gradient, _ = ravel(grad)
    dtype = point.dtype

    def fun(flat: Vector) -> Scalar:
        return jnp.asarray(loss(unravel(flat)), dtype)

    return Flat(fun, point, jnp.asarray(value, dtype), gradient.astype(dtype), unravel)
