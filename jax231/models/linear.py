"""The linear classifier: one template a class."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.types import Model
from jax231.functional.initializers import gaussian
from jax231.functional.linear import affine


def linear(shape: tuple[int, ...], classes: int, *, std: float = 0.01) -> Model:
    """``scores = x W + b`` on the flattened image; softmax regression or SVM is a matter of the loss.

    Shapes:  inputs (n, *shape) -> (n, classes).
    Source:  CS231n lecture 2.
    """

    def init(key: jax.Array):
        kernel = gaussian(std)(key, (math.prod(shape), classes))
        return {"scores": {"kernel": kernel, "bias": jnp.zeros(classes, kernel.dtype)}}, {}

    def apply(params, state, inputs: Float[Array, "n ..."], *, train=False, key=None, rates=None):
        scores = params["scores"]
        return affine(inputs.reshape(len(inputs), -1), scores["kernel"], scores["bias"]), state

    return Model(init, apply)
