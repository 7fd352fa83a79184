"""The multilayer perceptron: affine maps with nonlinearities between them."""

import itertools
import math
from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional import activations
from jax231.functional.initializers import gaussian, he, xavier
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout
from jax231.nn.norm import BatchNorm
from jax231.nn.prelu import PReLU

ACTIVATIONS = ("relu", "leaky_relu", "prelu", "elu", "tanh", "sigmoid", "maxout")
PIECES = 2
"""Candidates of a maxout unit."""


class Hidden(Layer):
    """``f(x W + b)``, with batch normalisation before f and dropout after it where they are wanted."""

    def __init__(self, fan_in: int, units: int, *, activation: str, batch_norm: bool, dropout: float, rngs: nnx.Rngs):
        self.activation = activation
        candidates = units * PIECES if activation == "maxout" else units
        first = xavier() if activation in ("tanh", "sigmoid") else he()
        self.affine = Affine(fan_in, candidates, bias=not batch_norm, kernel_init=first, rngs=rngs)
        self.norm = BatchNorm(candidates) if batch_norm else None
        self.prelu = PReLU(units) if activation == "prelu" else None
        self.dropout = Dropout(dropout, rngs=rngs) if dropout else None

    def __call__(self, x: Float[Array, "n fan_in"]) -> Float[Array, "n units"]:
        """The activations."""
        x = self.affine(x)
        x = x if self.norm is None else self.norm(x)
        if self.prelu is not None:
            x = self.prelu(x)
        elif self.activation == "maxout":
            x = activations.maxout(x, PIECES)
        else:
            x = getattr(activations, self.activation)(x)
        return x if self.dropout is None else self.dropout(x)


class MLP(Layer):
    """A hidden layer for each of the `widths`, and an affine map to the scores.

    `std` is the deviation of that map's first weights: small, so that all classes start alike.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        widths: Sequence[int],
        *,
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        std: float = 0.01,
        rngs: nnx.Rngs,
    ):
        fans = (features, *widths)
        options = {"activation": activation, "batch_norm": batch_norm, "dropout": dropout}
        self.hidden = nnx.List([Hidden(*pair, **options, rngs=rngs) for pair in itertools.pairwise(fans)])
        self.scores = Affine(fans[-1], classes, kernel_init=gaussian(std), rngs=rngs)

    def __call__(self, x: Float[Array, "n ..."]) -> Float[Array, "n classes"]:
        """The scores of the classes."""
        x = flatten(x)
        for layer in self.hidden:
            x = layer(x)
        return self.scores(x)


def mlp(
    shape: tuple[int, ...],
    classes: int,
    *,
    widths: Sequence[int] = (100, 100),
    activation: str = "relu",
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> Constructor:
    """A perceptron with a hidden layer for each of the `widths`; a `dropout` of 0 builds no such layers.

    Shapes:  inputs (n, *shape) -> (n, classes).
    Raises:  ValueError for an activation that is not among `ACTIVATIONS`.
    Source:  CS231n lectures 4 to 6; Ioffe and Szegedy 2015 (arXiv:1502.03167); Srivastava et al. 2014.
    """
    known = activation in ACTIVATIONS
    require(known, "mlp", f"an activation among {', '.join(ACTIVATIONS)}", activation=activation)
    return lambda rngs: MLP(
        math.prod(shape), classes, widths, activation=activation, batch_norm=batch_norm, dropout=dropout, rngs=rngs
    )
