"""The affine map, and the bias trick."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import require, require_rank
from jax231.core.precision import statistics_dtype


def affine(
    x: Float[ArrayLike, "..."], weight: Float[ArrayLike, "..."], bias: Float[ArrayLike, "..."] | None = None
) -> Float[Array, "*batch units"]:
    """Scores ``x @ weight + bias`` of a linear layer.

    Shapes: x (..., d), weight (d, units), bias (units,) -> (..., units); narrow types accumulate in float32.
    Raises: ValueError where the shapes do not fit; a bias is not broadcast.
    """
    x, weight = jnp.asarray(x), jnp.asarray(weight)
    require_rank("affine", 2, "d units", weight=weight)
    fits = x.ndim >= 1 and x.shape[-1] == weight.shape[0]
    require(fits, "affine", "the last axis of x to be the first of weight", x=x, weight=weight)
    dtype = jnp.result_type(x, weight)
    y = jnp.matmul(x, weight, preferred_element_type=statistics_dtype(dtype))
    if bias is not None:
        bias = jnp.asarray(bias)
        require(bias.shape == weight.shape[1:], "affine", "bias (units,)", bias=bias, weight=weight)
        dtype = jnp.result_type(dtype, bias)
        y = y + bias
    return y.astype(dtype)


def append_ones(x: Float[ArrayLike, "..."]) -> Float[Array, "*batch d_plus_1"]:
    """The bias trick: one more input that is always 1, so that the last row of the weight is the bias.

    ``affine(append_ones(x), vstack([weight, bias])) == affine(x, weight, bias)``.

    Shapes: (..., d) -> (..., d + 1).
    Source: CS231n notes, linear-classify.
    """
    x = jnp.asarray(x)
    require(x.ndim >= 1, "append_ones", "x (..., d)", x=x)
    return jnp.concatenate([x, jnp.ones((*x.shape[:-1], 1), x.dtype)], -1)
