"""Products with the Jacobian of a model: how its outputs move with the parameters, and back."""

from collections.abc import Callable

import jax

from jax231.core.types import PyTree
from jax231.curvature.checked import require_alike, require_parameters


def jvp(outputs_fn: Callable[[PyTree], PyTree], params: PyTree, vector: PyTree) -> tuple[PyTree, PyTree]:
    """The outputs at `params`, and their derivative along `vector`: the Jacobian times it.

    Cost:    about two evaluations.
    Raises:  ValueError for a vector unlike the parameters, for parameters that are not floating point numbers.
    """
    require_parameters("jvp", params)
    require_alike("jvp", params, vector=vector)
    return jax.jvp(outputs_fn, (params,), (vector,))


def vjp(outputs_fn: Callable[[PyTree], PyTree], params: PyTree, weights: PyTree) -> tuple[PyTree, PyTree]:
    """The outputs at `params`, and the gradient of their sum by `weights`: the transposed Jacobian times these.

    Shapes:  `weights` like the outputs -> a tree like `params`.
    Cost:    about one gradient.
    Raises:  ValueError for weights unlike the outputs, for parameters that are not floating point numbers.
    """
    require_parameters("vjp", params)
    outputs, backward = jax.vjp(outputs_fn, params)
    require_alike("vjp", outputs, weights=weights)
    return outputs, backward(weights)[0]
