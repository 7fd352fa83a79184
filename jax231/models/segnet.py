"""SegNet: a decoder that puts pixels back where the encoder's pooling took them."""

import itertools
from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.initializers import gaussian
from jax231.models.images import require_image
from jax231.nn.bridge import Constructor
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer
from jax231.nn.pool import MaxPoolWithSwitches, MaxUnpool
from jax231.nn.sequential import rematerialized
from jax231.nn.stage import Stage


class SegNet(Layer):
    """Stages of convolutions, each ends in 2x2 max pooling; the same stages backwards, each begins with unpooling."""

    def __init__(
        self,
        colours: int,
        classes: int,
        *,
        channels: Sequence[int],
        convolutions: Sequence[int],
        remat: bool,
        rngs: nnx.Rngs,
    ):
        options = {"pool": False, "batch_norm": True, "bias": False, "rngs": rngs}
        stages = list(zip(itertools.pairwise((colours, *channels)), convolutions, strict=True))
        self.encoder = nnx.List([Stage(cin, [cout] * count, **options) for (cin, cout), count in stages])
        self.pool = MaxPoolWithSwitches(2)
        self.unpool = MaxUnpool()
        decoder = [Stage(cout, [cout] * (count - 1) + [cin], **options) for (cin, cout), count in reversed(stages[1:])]
        self.decoder = nnx.List([*decoder, Stage(channels[0], [channels[0]] * (convolutions[0] - 1), **options)])
        self.scores = Conv(channels[0], classes, 3, kernel_init=gaussian(0.01), rngs=rngs)
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
        for stage, (switches, shape) in zip(self.decoder, reversed(pooled), strict=True):
            x = run(stage, self.unpool(x, switches, shape))
        return self.scores(x)


def segnet(
    shape: tuple[int, ...],
    classes: int,
    *,
    channels: Sequence[int] = (64, 128, 256, 512, 512),
    convolutions: Sequence[int] = (2, 2, 3, 3, 3),
    remat: bool = False,
) -> Constructor:
    """SegNet on the convolutions of VGG-16, all with batch normalisation; its last convolution gives the scores.

    `channels` and `convolutions` have an entry a stage: how wide, and how many. The smaller nets of the same kind have
    fewer and narrower ones. Images of any size with a pixel left after all poolings will do.

    Shapes:  inputs (n, h, w, c) -> (n, h, w, classes).
    Raises:  ValueError for stages that do not fit together and for images that are too small.
    Source:  Badrinarayanan et al. 2017 (arXiv:1511.00561), section 3; CS231n lecture 11, max unpooling.
    """
    fits = len(channels) == len(convolutions) >= 1 and min(convolutions) >= 1
    require(fits, "segnet", "channels and convolutions of each stage", channels=channels, convolutions=convolutions)
    require_image("segnet", shape, 2 ** len(channels))
    return lambda rngs: SegNet(shape[2], classes, channels=channels, convolutions=convolutions, remat=remat, rngs=rngs)
