"""Filters, the units of scale of a network: the weights that feed one output of a layer.

A filter is what shares an index of the last axis, the output of an affine map or a convolution. Leaves with fewer than
two axes (biases, the parameters of normalisation) belong to none.
"""

import jax
import jax.numpy as jnp

from jax231.core.types import PyTree
from jax231.curvature.checked import require_alike, require_parameters
from jax231.curvature.vectors import narrow, wide


def filter_lengths(params: PyTree) -> PyTree:
    """The length of every filter, in shapes that broadcast against `params`; 0 for leaves that have no filters.

    Shapes:  a leaf (..., units) -> (1, ..., units), others -> (); in float32 at least.
    Raises:  ValueError for parameters that are not floating point numbers.
    """
    require_parameters("filter_lengths", params)

    def lengths(x: jax.Array) -> jax.Array:
        if x.ndim < 2:
            return jnp.zeros((), x.dtype)
        return jnp.sqrt(jnp.square(x).sum(tuple(range(x.ndim - 1)), keepdims=True))

    return jax.tree.map(lengths, wide(params))


def filter_normalized(direction: PyTree, params: PyTree) -> PyTree:
    """`direction` with each filter at the length that it has in `params`; 0 for leaves that have no filters.

    A plot of the loss along it does not depend on the scale of the weights, which means nothing where a normalisation
    or the next layer undoes it.

    Raises:  ValueError for a direction unlike the parameters, for parameters that are not floating point numbers.
    Source:  Li et al. 2018 (arXiv:1712.09913), section 4.
    """
    require_parameters("filter_normalized", params)
    require_alike("filter_normalized", params, direction=direction)

    def scaled(d: jax.Array, own: jax.Array, wanted: jax.Array) -> jax.Array:
        return d * jnp.where(own > 0, wanted / jnp.where(own > 0, own, 1), 0)

    direction = wide(direction)
    return narrow(jax.tree.map(scaled, direction, filter_lengths(direction), filter_lengths(params)), params)
