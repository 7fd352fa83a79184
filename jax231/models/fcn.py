"""Fully convolutional networks: a classifier slid over the image, and its coarse scores brought back to its size."""

from collections.abc import Sequence
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.activations import relu
from jax231.functional.initializers import bilinear, gaussian
from jax231.functional.pool import bilinear_upsample
from jax231.models.images import require_image
from jax231.models.resnet import DEPTHS, ResNet
from jax231.models.vgg import CONVOLUTIONS
from jax231.nn.bridge import Constructor
from jax231.nn.conv import Conv, ConvTranspose
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout
from jax231.nn.pool import MaxPool
from jax231.nn.stage import Stage

STRIDES = (8, 16, 32)
"""Of the three feature maps that a backbone hands on: a pixel of theirs for so many of the image."""


class VGGFeatures(Layer):
    """VGG as far as its scores, its affine maps as convolutions; returns what pool3, pool4 and fc7 put out."""

    def __init__(
        self,
        colours: int,
        *,
        depth: int = 16,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        batch_norm: bool = False,
        units: int = 4096,
        window: int = 7,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
    ):
        require(depth in CONVOLUTIONS, "fcn", f"a depth among {', '.join(map(str, CONVOLUTIONS))}", depth=depth)
        stages = zip((colours, *channels), channels, CONVOLUTIONS[depth], strict=False)
        self.stages = nnx.List(
            [Stage(cin, [cout] * count, pool=False, batch_norm=batch_norm, rngs=rngs) for cin, cout, count in stages]
        )
        self.pool = MaxPool(2, ceil=True)
        self.fc6 = Conv(channels[-1], units, window, rngs=rngs)
        self.drop6 = Dropout(dropout, rngs=rngs)
        self.fc7 = Conv(units, units, 1, rngs=rngs)
        self.drop7 = Dropout(dropout, rngs=rngs)
        self.widths = (channels[2], channels[3], units)

    def __call__(self, x: Float[Array, "n h w c"]) -> list[Float[Array, "n _ _ _"]]:
        """The feature maps of strides 8, 16 and 32."""
        outputs = []
        for stage in self.stages:
            x = self.pool(stage(x))
            outputs.append(x)
        x = self.drop6(relu(self.fc6(x)))
        return [*outputs[2:4], self.drop7(relu(self.fc7(x)))]


class ResNetFeatures(Layer):
    """A ResNet of four stages as far as its mean; returns what the last three stages put out."""

    def __init__(
        self,
        colours: int,
        *,
        depth: int = 50,
        stages: Sequence[int] | None = None,
        width: int = 64,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        require(stages is None or len(stages) == 4, "fcn", "blocks of four stages", stages=stages)
        require(depth in DEPTHS, "fcn", f"a depth among {', '.join(map(str, DEPTHS))}", depth=depth)
        block, counts = DEPTHS[depth]
        self.net = ResNet(block, stages or counts, width, 1, channels=colours, remat=remat, rngs=rngs)
        cout = self.net.fc.kernel.shape[0]
        del self.net.mean, self.net.fc
        self.widths = (cout // 4, cout // 2, cout)

    def __call__(self, x: Float[Array, "n h w c"]) -> list[Float[Array, "n _ _ _"]]:
        """The feature maps of strides 8, 16 and 32."""
        return self.net.features(x)[1:]


BACKBONES = {"vgg": VGGFeatures, "resnet": ResNetFeatures}


class FCN(Layer):
    """Scores of the coarsest features, twice as large, plus those of the next finer ones, and so on to `stride`."""

    def __init__(self, features: VGGFeatures | ResNetFeatures, classes: int, *, stride: int, rngs: nnx.Rngs):
        self.features, self.stride = features, stride
        widths = features.widths[STRIDES.index(stride) :]
        self.scores = nnx.List(
            [Conv(width, classes, 1, kernel_init=gaussian(0.1 / width**0.5), rngs=rngs) for width in widths]
        )
        self.up = nnx.List(
            [
                ConvTranspose(classes, classes, 4, stride=2, bias=False, kernel_init=bilinear(), rngs=rngs)
                for _ in widths[1:]
            ]
        )

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h w classes"]:
        """The scores of every pixel."""
        maps = self.features(images)[-len(self.scores) :]
        *finer, coarsest = [score(x) for score, x in zip(self.scores, maps, strict=True)]
        y = coarsest
        for up, scores in zip(self.up, reversed(finer), strict=True):
            y = scores + _cut(up(y), scores)
        return _cut(bilinear_upsample(y, self.stride), images)


def fcn(shape: tuple[int, ...], classes: int, *, backbone: str = "vgg", stride: int = 8, **options: Any) -> Constructor:
    """FCN-8s, 16s or 32s, by `stride`, on a backbone "vgg" or "resnet", which takes the `options`.

    VGG takes ``depth, channels, batch_norm, units, window, dropout``, ResNet ``depth, stages, width, remat``.

    Scores are made twice as large by transposed convolutions, which start as bilinear interpolation and learn; the last
    step, to the size of the image, is bilinear interpolation for good. Images may have any size: sizes are rounded up
    on the way down, where the paper pads the image with 100 pixels instead, and cut on the way up. Score layers start
    small rather than at zero, so that every layer learns from the first step.

    Shapes:  inputs (n, h, w, c) -> (n, h, w, classes).
    Raises:  ValueError for another backbone, depth or stride, and for shapes other than (h, w, c).
    Source:  Long, Shelhamer and Darrell 2015 (arXiv:1411.4038), section 4.
    """
    require_image("fcn", shape)
    require(backbone in BACKBONES, "fcn", f"a backbone among {', '.join(BACKBONES)}", backbone=backbone)
    require(stride in STRIDES, "fcn", f"a stride among {', '.join(map(str, STRIDES))}", stride=stride)
    return lambda rngs: FCN(BACKBONES[backbone](shape[2], **options, rngs=rngs), classes, stride=stride, rngs=rngs)


def _cut(x: Array, like: Array) -> Array:
    return x[:, : like.shape[1], : like.shape[2]]
