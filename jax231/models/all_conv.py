"""The all-convolutional net: strides in the place of pooling, an average over pixels in the place of affine maps."""

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.activations import relu
from jax231.functional.initializers import gaussian
from jax231.functional.pool import global_avg_pool
from jax231.models.images import require_image
from jax231.nn.bridge import Constructor
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout


class AllConv(Layer):
    """All-CNN-C, table 1 and 2: every third convolution has stride 2 and dropout behind it."""

    def __init__(self, depth: int, classes: int, *, channels: tuple[int, ...], dropout: float, rngs: nnx.Rngs):
        narrow, wide = channels
        self.drop0 = Dropout(dropout, share=0.4, rngs=rngs) if dropout else None
        self.conv1 = Conv(depth, narrow, 3, rngs=rngs)
        self.conv2 = Conv(narrow, narrow, 3, rngs=rngs)
        self.conv3 = Conv(narrow, narrow, 3, stride=2, padding=1, rngs=rngs)
        self.drop3 = Dropout(dropout, rngs=rngs) if dropout else None
        self.conv4 = Conv(narrow, wide, 3, rngs=rngs)
        self.conv5 = Conv(wide, wide, 3, rngs=rngs)
        self.conv6 = Conv(wide, wide, 3, stride=2, padding=1, rngs=rngs)
        self.drop6 = Dropout(dropout, rngs=rngs) if dropout else None
        self.conv7 = Conv(wide, wide, 3, padding="VALID", rngs=rngs)
        self.conv8 = Conv(wide, wide, 1, rngs=rngs)
        self.scores = Conv(wide, classes, 1, kernel_init=gaussian(0.01), rngs=rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores of the classes."""
        x = images if self.drop0 is None else self.drop0(images)
        x = relu(self.conv3(relu(self.conv2(relu(self.conv1(x))))))
        x = x if self.drop3 is None else self.drop3(x)
        x = relu(self.conv6(relu(self.conv5(relu(self.conv4(x))))))
        x = x if self.drop6 is None else self.drop6(x)
        x = relu(self.conv8(relu(self.conv7(x))))
        return global_avg_pool(self.scores(x))


def all_conv(
    shape: tuple[int, ...], classes: int, *, channels: tuple[int, ...] = (96, 192), dropout: float = 0.5
) -> Constructor:
    """All-CNN-C for small images, with so many `channels` before and after the first stride of 2.

    The images themselves are thinned with 0.4 times the rate of `dropout`, 0.2 in the paper; 0 builds no such layers.
    The paper's table has one more relu, behind the last convolution; scores may be negative here.

    Shapes:  inputs (n, h, w, c) -> (n, classes); h and w at least 9.
    Raises:  ValueError for smaller images and other than two channels.
    Source:  Springenberg et al. 2015 (arXiv:1412.6806), tables 1 and 2 and section 3.1.
    """
    require_image("all_conv", shape, 9)
    require(len(channels) == 2, "all_conv", "channels before and after the first stride", channels=channels)
    return lambda rngs: AllConv(shape[2], classes, channels=channels, dropout=dropout, rngs=rngs)
