"""Gradients along each of their axes: second moments, products with a matrix, and inverse roots."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Moment = Float[Array, "d d"] | Float[Array, " d"]
"""The second moment of an axis of length d, or its diagonal alone."""


def shaped(x: Float[Array, "*shape"]) -> Float[Array, "..."]:
    """`x` with at least one axis: a scalar is a vector of one entry."""
    return x.reshape(x.shape or (1,))


def second_moment(x: Float[Array, "..."], axis: int, full: bool) -> Moment:
    """The matrix ``X X'`` where the rows of X are the slices of `x` across `axis`, or the diagonal of that matrix."""
    if full:
        others = [other for other in range(x.ndim) if other != axis]
        return jnp.tensordot(x, x, axes=(others, others), precision="highest")
    return jnp.sum(jnp.square(x), [other for other in range(x.ndim) if other != axis])


def times(x: Float[Array, "..."], matrix: Moment, axis: int) -> Float[Array, "..."]:
    """`x` with every fibre v along `axis` replaced by ``matrix' v``; a vector stands for the diagonal matrix of it."""
    if matrix.ndim == 1:
        return x * jax.lax.expand_dims(matrix, [other for other in range(x.ndim) if other != axis])
    return jnp.moveaxis(jnp.tensordot(x, matrix, axes=(axis, 0), precision="highest"), -1, axis)


def inverse_root(moment: Moment, eps: jax.Array | float, power: int) -> Moment:
    """``(moment + eps I) ** (-1 / power)``, by eigenvectors where it is a matrix; 0 on what has the eigenvalue 0.

    Rounding below zero, as of the matrix of a single gradient, is cut off.
    """
    values, basis = (moment, None) if moment.ndim == 1 else jnp.linalg.eigh(moment)
    values = jnp.maximum(values, 0) + eps
    roots = jnp.where(values > 0, jnp.where(values > 0, values, 1) ** (-1 / power), 0)
    return roots if basis is None else jnp.matmul(basis * roots, basis.T, precision="highest")
