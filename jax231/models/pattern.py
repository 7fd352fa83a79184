"""The course's pattern: [(conv - relu)*N - pool?]*M - (fc - relu)*K, softmax."""

import itertools

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.models.images import require_image
from jax231.models.mlp import MLP
from jax231.nn.bridge import Constructor
from jax231.nn.layer import Layer
from jax231.nn.stage import Stage


class Pattern(Layer):
    """Stages of 3x3 convolutions, each with twice the channels of the one before, and a perceptron on the last map."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        n: int,
        m: int,
        k: int,
        pool: bool,
        channels: int,
        units: int,
        batch_norm: bool,
        dropout: float,
        rngs: nnx.Rngs,
    ):
        height, width, depth = shape
        outputs = [channels * 2**place for place in range(m)]
        options = {"pool": pool, "batch_norm": batch_norm, "bias": not batch_norm}
        fans = itertools.pairwise((depth, *outputs))
        self.stages = nnx.List([Stage(cin, (cout,) * n, **options, rngs=rngs) for cin, cout in fans])
        shrink = 2**m if pool else 1
        features = (height // shrink) * (width // shrink) * outputs[-1]
        self.classifier = MLP(features, classes, (units,) * k, batch_norm=batch_norm, dropout=dropout, rngs=rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores of the classes."""
        x = images
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x)


def pattern(
    shape: tuple[int, ...],
    classes: int,
    *,
    n: int = 2,
    m: int = 2,
    k: int = 1,
    pool: bool = True,
    channels: int = 32,
    units: int = 128,
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> Constructor:
    """`m` stages of `n` convolutions, pooled if `pool`, and `k` hidden affine layers of so many `units`.

    The first stage has so many `channels`. Batch normalisation goes before each relu, dropout behind the hidden layers.

    Shapes:  inputs (n, h, w, c) -> (n, classes); with pooling h and w at least 2 ** m.
    Raises:  ValueError for images that are too small, for n or m below 1 and k below 0.
    Source:  CS231n lecture 5 (summary), where n is up to about 5, m large, k up to 2.
    """
    require(min(n, m) >= 1 and k >= 0, "pattern", "n and m of at least 1, k of at least 0", n=n, m=m, k=k)
    require_image("pattern", shape, 2**m if pool else 1)
    return lambda rngs: Pattern(
        shape,
        classes,
        n=n,
        m=m,
        k=k,
        pool=pool,
        channels=channels,
        units=units,
        batch_norm=batch_norm,
        dropout=dropout,
        rngs=rngs,
    )
