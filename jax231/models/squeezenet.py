"""SqueezeNet 1.0: AlexNet's accuracy with a fiftieth of its parameters."""

from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from jax231.functional.activations import relu
from jax231.functional.initializers import constant, gaussian
from jax231.models.images import require_image
from jax231.nn.bridge import Constructor
from jax231.nn.conv import Conv
from jax231.nn.fire import Fire
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout
from jax231.nn.pool import GlobalAvgPool, MaxPool

STAGES = ((16, 16, 32), (32, 48, 48, 64), (64,))
"""What the fire modules squeeze to, fire2 to fire9; a max pool stands before each stage."""


class SqueezeNet(Layer):
    """A 7x7 convolution, fire modules in stages, a 1x1 convolution to one map a class, and the mean of each map.

    Pools are 3x3 with stride 2, their sizes rounded up. Modules are named as in table 1, ``conv1 fire2 ... conv10``,
    layers within them as in torchvision. The scores have passed a ReLU: they are never negative.

    Shapes:  (n, h, w, c) -> (n, classes).
    Source:  Iandola et al. 2016 (arXiv:1602.07360), figure 2 and table 1.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[int]],
        width: int,
        classes: int,
        *,
        channels: int = 3,
        dropout: float = 0.5,
        last_padding: int = 0,
        rngs: nnx.Rngs,
    ):
        self.conv1 = Conv(channels, width, 7, stride=2, padding=0, rngs=rngs)
        self.pool = MaxPool(3, stride=2, ceil=True)
        number, stage_names = 2, []
        for stage in stages:
            names = []
            for squeeze in stage:
                names.append(f"fire{number}")
                setattr(self, names[-1], Fire(width, squeeze, 4 * squeeze, rngs=rngs))
                number, width = number + 1, 8 * squeeze
            stage_names.append(tuple(names))
        self.stages = tuple(stage_names)
        self.dropout = Dropout(dropout, rngs=rngs)
        # With biases of 0 the last ReLU would stop half of the classes at the start, and their gradients for good.
        self.conv10 = Conv(
            width, classes, 1, padding=last_padding, kernel_init=gaussian(0.01), bias_init=constant(0.5), rngs=rngs
        )
        self.mean = GlobalAvgPool()

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores."""
        x = relu(self.conv1(x))
        for stage in self.stages:
            x = self.pool(x)
            for fire in stage:
                x = getattr(self, fire)(x)
        return self.mean(relu(self.conv10(self.dropout(x))))


def squeezenet(
    shape: tuple[int, ...],
    classes: int,
    *,
    stages: Sequence[Sequence[int]] = STAGES,
    width: int = 96,
    dropout: float = 0.5,
    last_padding: int = 0,
) -> Constructor:
    """SqueezeNet 1.0 with the hyperparameters of torchvision.

    With ``last_padding=1`` the last convolution sees a border of zeros, as in the authors' Caffe model, which has the
    same parameters: published weights of theirs want it, images of 227x227, channels in the order blue, green, red.

    Raises:  ValueError for images that are too small for the pools, 29x29 with the paper's three.
    """
    require_image("squeezenet", shape, 2 * (3 * 2 ** (len(stages) - 1) - 1) + 7)
    return lambda rngs: SqueezeNet(
        stages, width, classes, channels=shape[2], dropout=dropout, last_padding=last_padding, rngs=rngs
    )
