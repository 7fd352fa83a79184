"""The two-layer network: the course's first net."""

import math

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional import activations
from jax231.functional.initializers import he, xavier
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer


class TwoLayer(Layer):
    """``scores = W2 f(W1 x + b1) + b2`` with f = relu (He initialization) or tanh (Xavier)."""

    def __init__(self, features: int, hidden: int, classes: int, *, activation: str = "relu", rngs: nnx.Rngs):
        self.activation = getattr(activations, activation)
        first = he() if activation == "relu" else xavier()
        self.hidden = Affine(features, hidden, kernel_init=first, rngs=rngs)
        self.scores = Affine(hidden, classes, kernel_init=xavier(), rngs=rngs)

    def __call__(self, images: Float[Array, "n ..."]) -> Float[Array, "n classes"]:
        """The scores of the classes."""
        return self.scores(self.activation(self.hidden(flatten(images))))


def two_layer(shape: tuple[int, ...], classes: int, *, hidden: int = 32, activation: str = "relu") -> Constructor:
    """A two-layer network of so many `hidden` units.

    Shapes:  inputs (n, *shape) -> (n, classes).
    Raises:  ValueError if `activation` is neither "relu" nor "tanh".
    Source:  CS231n lecture 4 (neural networks) and lecture 6 (initialization).
    """
    require(activation in ("relu", "tanh"), "two_layer", "relu or tanh", activation=activation)
    return lambda rngs: TwoLayer(math.prod(shape), hidden, classes, activation=activation, rngs=rngs)
