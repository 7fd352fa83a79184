"""The two-layer network: the course's first net."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.types import Model
from jax231.functional import activations
from jax231.functional.initializers import he, xavier
from jax231.functional.linear import affine


def two_layer(shape: tuple[int, ...], classes: int, *, hidden: int = 32, activation: str = "relu") -> Model:
    """``scores = W2 f(W1 x + b1) + b2`` with f = relu (He initialization) or tanh (Xavier).

    Shapes:  inputs (n, *shape) -> (n, classes).
    Raises:  ValueError if `activation` is neither of the two.
    Source:  CS231n lecture 4 (neural networks) and lecture 6 (initialization).
    """
    require(activation in ("relu", "tanh"), "two_layer", "relu or tanh", activation=activation)
    nonlinearity = getattr(activations, activation)
    first = he() if activation == "relu" else xavier()

    def init(key: jax.Array):
        key_hidden, key_scores = jax.random.split(key)
        w1 = first(key_hidden, (math.prod(shape), hidden))
        w2 = xavier()(key_scores, (hidden, classes))
        return {
            "hidden": {"kernel": w1, "bias": jnp.zeros(hidden, w1.dtype)},
            "scores": {"kernel": w2, "bias": jnp.zeros(classes, w2.dtype)},
        }, {}

    def apply(params, state, inputs: Float[Array, "n ..."], *, train=False, key=None, rates=None):
        h = nonlinearity(affine(inputs.reshape(len(inputs), -1), params["hidden"]["kernel"], params["hidden"]["bias"]))
        return affine(h, params["scores"]["kernel"], params["scores"]["bias"]), state

    return Model(init, apply)
