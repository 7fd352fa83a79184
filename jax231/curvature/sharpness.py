"""How sharp a minimum is: the largest eigenvalue of a curvature matrix, as it is or on the scale of the filters."""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from jax231.core.types import Key, PyTree
from jax231.curvature.checked import require_parameters
from jax231.curvature.filters import filter_lengths
from jax231.curvature.lanczos import eigenpairs
from jax231.curvature.products import Product
from jax231.curvature.vectors import narrow, wide


class Sharpness(NamedTuple):
    """The largest eigenvalue, the direction of length 1 that belongs to it, and the residual that bounds the error."""

    value: Float[Array, ""]
    direction: PyTree
    residual: Float[Array, ""]


def sharpness(product: Product, like: PyTree, key: Key, *, steps: int = 32) -> Sharpness:
    """The largest eigenvalue of a symmetric operator, the largest curvature along any direction of length 1.

    Gradient descent is stable up to a step size of 2 over that of the Hessian.

    Cost:    `steps` + 1 products.
    Raises:  ValueError for less than one step, for parameters that are not floating point numbers.
    Source:  Cohen et al. 2021 (arXiv:2103.00065), section 2, for the bound.
    """
    return Sharpness(*jax.tree.map(lambda x: x[0], tuple(eigenpairs(product, like, key, steps=steps))))


def filter_scaled(product: Product, params: PyTree) -> Product:
    """The operator D A D with D the length of each weight's filter: A seen on the scale of the filters.

    Its sharpness, ``sharpness(filter_scaled(product, params), params, key)``, does not change where a layer is scaled
    up and the next one down by as much, as that of A does; it measures relative steps. Leaves without filters stand
    still.

    Cost:    a product with A and two with D each time.
    Raises:  ValueError for parameters that are not floating point numbers.
    Source:  Dinh et al. 2017 (arXiv:1703.04933), section 5, for what it undoes; Li et al. 2018 (arXiv:1712.09913).
    """
    require_parameters("filter_scaled", params)
    lengths = filter_lengths(params)

    def scaled(vector: PyTree) -> PyTree:
        return narrow(jax.tree.map(lambda x, length: x * length, wide(vector), lengths), params)

    return lambda vector: scaled(product(scaled(vector)))
