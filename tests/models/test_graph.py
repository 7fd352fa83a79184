"""Which layer reads which, of nets with branches."""

import jax
import jax.numpy as jnp

from jax231.functional.activations import relu
from jax231.models.graph import INPUT, graph
from jax231.nn.affine import Affine
from jax231.nn.conv import Conv
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout
from jax231.nn.pool import MaxPool
from jax231.nn.sequential import Sequential


class Branches(Layer):
    """Two branches, joined, added to the image, one layer called twice."""

    def __init__(self, *, rngs):
        self.left, self.right = Conv(3, 1, 1, rngs=rngs), Sequential([Conv(3, 2, 3, rngs=rngs)])
        self.pool, self.drop = MaxPool(2), Dropout(0.5, rngs=rngs)
        self.scores = Affine(12, 5, rngs=rngs)

    def __call__(self, x):
        joined = relu(jnp.concatenate([self.left(x), self.right(x)], -1)) + x
        return self.scores(flatten(self.drop(self.pool(self.pool(joined)))))


def test_edges_of_branches_sums_and_layers_called_twice():
    found = graph(lambda rngs: Branches(rngs=rngs), jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32))
    assert found.calls == (
        ("left", "Conv 1x1", (8, 8, 1), 4, (INPUT,)),
        ("right/layers/00", "Conv 3x3", (8, 8, 2), 56, (INPUT,)),
        ("pool", "MaxPool 2x2 / 2", (4, 4, 3), 0, (INPUT, 0, 1)),
        ("pool", "MaxPool 2x2 / 2", (2, 2, 3), 0, (2,)),
        ("scores", "Affine", (5,), 65, (3,)),
    )
    assert found.blocks == {"right": ("Sequential", (8, 8, 2)), "": ("Branches", (5,))}
