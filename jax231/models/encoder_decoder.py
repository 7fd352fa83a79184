"""The course's picture of segmentation: convolutions that downsample, and transposed convolutions that upsample."""

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
from jax231.nn.sequential import Sequential
from jax231.nn.stage import Stage


class EncoderDecoder(Layer):
    """Down by convolutions of stride 2, up by transposed ones, and a convolution to the scores."""

    def __init__(self, colours: int, classes: int, *, channels: Sequence[int], convolutions: int, rngs: nnx.Rngs):
        options = {"stride": 2, "bias": False, "rngs": rngs}
        widths = list(itertools.pairwise((colours, *channels)))
        self.down = nnx.List(
            [
                Sequential(
                    [
                        Conv(cin, cout, 3, **options),
                        BatchNorm(cout, relu=True),
                        Stage(cout, [cout] * convolutions, pool=False, batch_norm=True, bias=False, rngs=rngs),
                    ]
                )
                for cin, cout in widths
            ]
        )
        back = [*reversed(widths[1:]), (channels[0], channels[0])]
        self.up = nnx.List(
            [
                Sequential([ConvTranspose(cout, cin, 4, **options), BatchNorm(cin, relu=True)])  # 4 covers all alike
                for cin, cout in back
            ]
        )
        self.scores = Conv(channels[0], classes, 3, kernel_init=gaussian(0.01), rngs=rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h w classes"]:
        """The scores of every pixel."""
        x, sizes = images, []
        for stage in self.down:
            sizes.append(x.shape[1:3])
            x = stage(x)
        for stage, (h, w) in zip(self.up, reversed(sizes), strict=True):
            x = stage(x)[:, :h, :w]  # of odd sizes the convolution has made the half of one more
        return self.scores(x)


def encoder_decoder(
    shape: tuple[int, ...], classes: int, *, channels: Sequence[int] = (64, 128, 256), convolutions: int = 1
) -> Constructor:
    """A 3x3 convolution of stride 2 and `convolutions` more for each of `channels`, and 4x4 transposed ones back up.

    Batch normalisation and relu follow each layer but the last. Windows of 4 rather than 3 put as many kernel entries
    on every pixel; others leave a chequered pattern (Odena et al. 2016).

    Shapes:  inputs (n, h, w, c) -> (n, h, w, classes), images of any size.
    Raises:  ValueError for no channels and for shapes other than (h, w, c).
    Source:  CS231n lecture 11, semantic segmentation: downsampling and upsampling; Odena, Dumoulin and Olah 2016,
             Deconvolution and checkerboard artifacts (Distill).
    """
    require_image("encoder_decoder", shape)
    fits = len(channels) >= 1 and convolutions >= 0
    require(fits, "encoder_decoder", "at least one stage", channels=channels, convolutions=convolutions)
    return lambda rngs: EncoderDecoder(shape[2], classes, channels=channels, convolutions=convolutions, rngs=rngs)
