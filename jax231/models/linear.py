"""The linear classifier: one template a class."""

import math

from flax import nnx
from jaxtyping import Array, Float

from jax231.functional.initializers import gaussian
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer


class LinearClassifier(Layer):
    """``scores = x W + b`` on the flattened image; softmax regression or SVM is a matter of the loss."""

    def __init__(self, features: int, classes: int, *, std: float = 0.01, rngs: nnx.Rngs):
        self.scores = Affine(features, classes, kernel_init=gaussian(std), rngs=rngs)

    def __call__(self, images: Float[Array, "n ..."]) -> Float[Array, "n classes"]:
        """The scores of the classes."""
        return self.scores(flatten(images))


def linear(shape: tuple[int, ...], classes: int, *, std: float = 0.01) -> Constructor:
    """A linear classifier whose first weights have the standard deviation `std`.

    Shapes:  inputs (n, *shape) -> (n, classes).
    Source:  CS231n lecture 2.
    """
    return lambda rngs: LinearClassifier(math.prod(shape), classes, std=std, rngs=rngs)
