"""DeconvNet: VGG-16 down to a single pixel, and the whole way back."""

import itertools
from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.initializers import gaussian
from jax231.models.images import require_image
from jax231.nn.bridge import Constructor
from jax231.nn.conv import Conv, ConvTranspose
from jax231.nn.layer import Layer
from jax231.nn.norm import BatchNorm
from jax231.nn.pool import MaxPoolWithSwitches, MaxUnpool
from jax231.nn.sequential import Sequential, rematerialized
from jax231.nn.stage import Stage


class DeconvNet(Layer):
    """Stages of convolutions and pooling, two layers that see the whole image, stages of unpooling and deconvolutions.

    A deconvolution is a transposed convolution; batch normalisation and relu follow each layer but the last.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        channels: Sequence[int],
        convolutions: Sequence[int],
        units: int,
        remat: bool,
        rngs: nnx.Rngs,
    ):
        stages = list(zip(itertools.pairwise((shape[2], *channels)), convolutions, strict=True))
        window, top = (shape[0] >> len(stages), shape[1] >> len(stages)), channels[-1]
        options = {"bias": False, "rngs": rngs}
        self.encoder = nnx.List(
            [Stage(cin, [cout] * count, pool=False, batch_norm=True, **options) for (cin, cout), count in stages]
        )
        self.pool = MaxPoolWithSwitches(2)
        self.fc6 = Sequential([Conv(top, units, window, padding="VALID", **options), BatchNorm(units, relu=True)])
        self.fc7 = Sequential([Conv(units, units, 1, **options), BatchNorm(units, relu=True)])
        back = ConvTranspose(units, top, window, padding="VALID", **options)
        self.fc6_back = Sequential([back, BatchNorm(top, relu=True)])
        self.unpool = MaxUnpool()
        (_, first), count = stages[0]
        backwards = [(cout, [cout] * (count - 1) + [cin]) for (cin, cout), count in reversed(stages[1:])]
        self.decoder = nnx.List([_deconvolutions(*stage, rngs) for stage in [*backwards, (first, [first] * count)]])
        self.scores = Conv(first, classes, 1, kernel_init=gaussian(0.01), rngs=rngs)
        self.remat = remat

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h w classes"]:
        """The scores of every pixel."""
        run = rematerialized if self.remat else lambda stage, x: stage(x)
        x, pooled = images, []
        for stage in self.encoder:
            x = run(stage, x)
            shape = x.shape
            x, switches = self.pool(x)
            pooled.append((switches, shape))
        x = self.fc6_back(self.fc7(self.fc6(x)))
        for stage, (switches, shape) in zip(self.decoder, reversed(pooled), strict=True):
            x = run(stage, self.unpool(x, switches, shape))
        return self.scores(x)


def deconvnet(
    shape: tuple[int, ...],
    classes: int,
    *,
    channels: Sequence[int] = (64, 128, 256, 512, 512),
    convolutions: Sequence[int] = (2, 2, 3, 3, 3),
    units: int = 4096,
    remat: bool = False,
) -> Constructor:
    """DeconvNet on VGG-16; the two layers of `units` in its middle see all of an image of `shape` at once.

    `channels` and `convolutions` have an entry a stage: how wide, and how many.

    Shapes:  inputs (n, h, w, c) -> (n, h, w, classes).
    Raises:  ValueError for stages that do not fit together and for images that are too small.
    Source:  Noh, Hong and Han 2015 (arXiv:1505.04366), section 3 and table 2 of the supplement; CS231n lecture 11.
    """
    fits = len(channels) == len(convolutions) >= 1 and min(convolutions) >= 1
    require(fits, "deconvnet", "channels and convolutions of each stage", channels=channels, convolutions=convolutions)
    require_image("deconvnet", shape, 2 ** len(channels))
    return lambda rngs: DeconvNet(
        shape, classes, channels=channels, convolutions=convolutions, units=units, remat=remat, rngs=rngs
    )


def _deconvolutions(cin: int, channels: Sequence[int], rngs: nnx.Rngs) -> Sequential:
    layers = []
    for fan, cout in itertools.pairwise((cin, *channels)):
        layers += [ConvTranspose(fan, cout, 3, bias=False, rngs=rngs), BatchNorm(cout, relu=True)]
    return Sequential(layers)
