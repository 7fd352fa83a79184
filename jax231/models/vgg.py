"""VGG: 3x3 convolutions only, and more of them."""

import itertools

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.models.images import require_image
from jax231.models.mlp import MLP
from jax231.nn.bridge import Constructor
from jax231.nn.layer import Layer
from jax231.nn.sequential import rematerialized
from jax231.nn.stage import Stage

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""How many convolutions each of the five stages has, by the number of layers with weights: columns A, B, D, E."""


class VGG(Layer):
    """Five stages, each ends in 2x2 max pooling, and three affine maps with relu and dropout between them."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        depth: int,
        batch_norm: bool,
        channels: tuple[int, ...],
        units: int,
        dropout: float,
        remat: bool,
        rngs: nnx.Rngs,
    ):
        height, width, colours = shape
        fans = itertools.pairwise((colours, *channels))
        self.stages = nnx.List(
            [
                Stage(cin, (cout,) * repeats, batch_norm=batch_norm, rngs=rngs)
                for (cin, cout), repeats in zip(fans, CONVOLUTIONS[depth], strict=True)
            ]
        )
        features = (height // 32) * (width // 32) * channels[-1]
        self.classifier = MLP(features, classes, (units, units), dropout=dropout, std=0.001, rngs=rngs)
        self.remat = remat

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores of the classes."""
        x = images
        for stage in self.stages:
            x = rematerialized(stage, x) if self.remat else stage(x)
        return self.classifier(x)


def vgg(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 16,
    batch_norm: bool = False,
    channels: tuple[int, ...] = (64, 128, 256, 512, 512),
    units: int = 4096,
    dropout: float = 0.5,
    remat: bool = False,
) -> Constructor:
    """VGG with 11, 13, 16 or 19 layers, with or without batch normalisation.

    Hyperparameters are torchvision's, where convolutions keep their biases before batch normalisation. The first affine
    map reads the last stage whatever its size: 7x7 at 224, where torchvision's adaptive pooling changes nothing, and
    1x1 for images of 32, where torchvision would repeat it 49 times.

    Shapes:  inputs (n, h, w, c) -> (n, classes); h and w at least 32.
    Raises:  ValueError for another depth, other than five channels, and smaller images.
    Source:  Simonyan and Zisserman 2015 (arXiv:1409.1556), table 1; Ioffe and Szegedy 2015 (arXiv:1502.03167).
    """
    require(depth in CONVOLUTIONS, "vgg", f"a depth among {', '.join(map(str, CONVOLUTIONS))}", depth=depth)
    require(len(channels) == 5, "vgg", "channels of five stages", channels=channels)
    require_image("vgg", shape, 32)
    return lambda rngs: VGG(
        shape,
        classes,
        depth=depth,
        batch_norm=batch_norm,
        channels=channels,
        units=units,
        dropout=dropout,
        remat=remat,
        rngs=rngs,
    )
