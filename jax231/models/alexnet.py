"""AlexNet: five convolutions and three affine maps."""

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.activations import relu
from jax231.functional.initializers import gaussian
from jax231.models.images import require_image
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.conv import Conv
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout
from jax231.nn.norm import LocalResponseNorm
from jax231.nn.pool import MaxPool


class AlexNet(Layer):
    """``conv1 - pool - conv2 - pool - conv3 - conv4 - conv5 - pool - fc6 - fc7 - fc8``, relu after all but the last."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        channels: tuple[int, ...],
        units: int,
        groups: int,
        response_norm: bool,
        dropout: float,
        rngs: nnx.Rngs,
    ):
        height, width, depth = shape
        c1, c2, c3, c4, c5 = channels
        self.conv1 = Conv(depth, c1, 11, stride=4, padding=2, rngs=rngs)
        self.conv2 = Conv(c1, c2, 5, padding=2, groups=groups, rngs=rngs)
        self.conv3 = Conv(c2, c3, 3, padding=1, rngs=rngs)
        self.conv4 = Conv(c3, c4, 3, padding=1, groups=groups, rngs=rngs)
        self.conv5 = Conv(c4, c5, 3, padding=1, groups=groups, rngs=rngs)
        self.pool = MaxPool(3, stride=2)
        self.norm = LocalResponseNorm() if response_norm else None
        self.drop6 = Dropout(dropout, rngs=rngs)
        self.fc6 = Affine(_last(height) * _last(width) * c5, units, rngs=rngs)
        self.drop7 = Dropout(dropout, rngs=rngs)
        self.fc7 = Affine(units, units, rngs=rngs)
        self.fc8 = Affine(units, classes, kernel_init=gaussian(0.001), rngs=rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores of the classes."""
        x = self.pool(self.normed(relu(self.conv1(images))))
        x = self.pool(self.normed(relu(self.conv2(x))))
        x = relu(self.conv4(relu(self.conv3(x))))
        x = self.drop6(flatten(self.pool(relu(self.conv5(x)))))
        x = self.drop7(relu(self.fc6(x)))
        return self.fc8(relu(self.fc7(x)))

    def normed(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """`x`, divided by the energy of neighbouring channels in the net of 2012."""
        return x if self.norm is None else self.norm(x)


def alexnet(
    shape: tuple[int, ...],
    classes: int,
    *,
    channels: tuple[int, ...] = (64, 192, 384, 256, 256),
    units: int = 4096,
    groups: int = 1,
    response_norm: bool = False,
    dropout: float = 0.5,
) -> Constructor:
    """AlexNet as torchvision has it, which is the single column of Krizhevsky's second paper.

    The net of 2012 is that with ``channels=(96, 256, 384, 384, 256), groups=2, response_norm=True``: convolutions on
    two GPUs that meet at conv3 only, and local response normalisation before the first two poolings. The first affine
    map reads the last feature map whatever its size: 6x6 at 224, where torchvision's adaptive pooling changes nothing.

    Shapes:  inputs (n, h, w, c) -> (n, classes); h and w at least 63.
    Raises:  ValueError for smaller images, other than five channels, and channels that the groups do not divide.
    Source:  Krizhevsky et al. 2012 (ImageNet classification with deep convolutional neural networks), section 3;
             Krizhevsky 2014 (arXiv:1404.5997).
    """
    require_image("alexnet", shape, 63)
    require(len(channels) == 5, "alexnet", "channels of five convolutions", channels=channels)
    divisible = groups >= 1 and not any(c % groups for c in channels)
    require(divisible, "alexnet", "channels that are multiples of the groups", channels=channels, groups=groups)
    return lambda rngs: AlexNet(
        shape,
        classes,
        channels=channels,
        units=units,
        groups=groups,
        response_norm=response_norm,
        dropout=dropout,
        rngs=rngs,
    )


def _last(size: int) -> int:
    """The height or width of the last feature map."""
    size = (size + 4 - 11) // 4 + 1
    for _ in range(3):
        size = (size - 3) // 2 + 1
    return size
