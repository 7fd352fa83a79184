"""k-nearest neighbours: the model that keeps its training set."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import require, require_labels
from jax231.core.types import PyTree
from jax231.functional.neighbors import METRICS, knn_predict
from jax231.nn.bridge import Constructor
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer


class Example(nnx.Variable):
    """What was seen: a state, for nothing is learned by descent."""


class Neighbors(Layer):
    """`knn_predict` among the examples of its state, ``images`` (examples, d) and ``labels`` (examples,).

    Raises:  ValueError in a call for labels that are no integers or, where they are known, beyond the classes.
    """

    def __init__(self, features: int, classes: int, *, examples: int, k: int, metric: str):
        self.classes, self.k, self.metric = classes, k, metric
        self.images = Example(jnp.zeros((examples, features), float))
        self.labels = Example(jnp.zeros(examples, int))

    def __call__(self, images: Float[Array, "n ..."]) -> Float[Array, "n classes"]:
        """1 for the class that most of the nearest examples carry, 0 for the others."""
        labels = self.labels[...]
        require_labels("Neighbors", labels, self.classes)
        examples, queries = self.cast(self.images[...]), self.cast(flatten(images))
        found = knn_predict(examples, labels, queries, self.k, self.metric)
        return jax.nn.one_hot(found, self.classes, dtype=images.dtype)


def neighbors(shape: tuple[int, ...], classes: int, *, examples: int, k: int = 5, metric: str = "l2") -> Constructor:
    """The classifier by the `k` nearest of so many `examples`; `fit` makes its state.

    Shapes:  inputs (n, *shape) -> (n, classes), one-hot.
    Raises:  ValueError for an unknown metric and for k outside [1, examples].
    Source:  CS231n lecture 2; notes, classification.
    """
    require(metric in METRICS, "neighbors", f"a metric among {', '.join(METRICS)}", metric=metric)
    require(1 <= k <= examples, "neighbors", "k within [1, examples]", k=k, examples=examples)
    return lambda _: Neighbors(math.prod(shape), classes, examples=examples, k=k, metric=metric)


def fit(images: ArrayLike, labels: ArrayLike) -> tuple[PyTree, PyTree]:
    """Parameters, of which there are none, and the state: all there is to training this model.

    Shapes:  images (examples, *shape), labels (examples,).
    Raises:  ValueError where there is not one label of an integer type an image.
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    labelled = labels.shape == images.shape[:1] and jnp.issubdtype(labels.dtype, jnp.integer)
    require(labelled, "neighbors.fit", "one label of an integer type an image", images=images, labels=labels)
    return {}, {"images": flatten(images), "labels": labels}
