"""A small ConvNet of the course's pattern: [conv - relu - pool] * 2 - fc."""

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
from jax231.nn.pool import MaxPool


class ConvNet(Layer):
    """3x3 convolutions ``conv1``, ``conv2``, ... with relu and 2x2 max pooling, and an affine map to the scores."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, channels: tuple[int, ...], rngs: nnx.Rngs):
        height, width, depth = shape
        self.names = tuple(f"conv{i}" for i in range(1, len(channels) + 1))
        for name, cin, cout in zip(self.names, (depth, *channels), channels, strict=False):
            setattr(self, name, Conv(cin, cout, 3, rngs=rngs))
        self.pool = MaxPool(2)
        shrink = 2 ** len(channels)
        features = (height // shrink) * (width // shrink) * channels[-1]
        # Small scores: pooling keeps the largest values, and a variance of 1/fan_in would start far above log k.
        self.scores = Affine(features, classes, kernel_init=gaussian(0.01), rngs=rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores of the classes."""
        x = images
        for name in self.names:
            x = self.pool(relu(getattr(self, name)(x)))
        return self.scores(flatten(x))


def convnet(shape: tuple[int, ...], classes: int, *, channels: tuple[int, ...] = (8, 16)) -> Constructor:
    """A ConvNet with a convolution for each number of `channels`.

    Shapes:  inputs (n, h, w, c) -> (n, classes); h and w at least 2 ** len(channels).
    Raises:  ValueError if the image is too small for the pooling, or `channels` is empty.
    Source:  CS231n lecture 5 (summary: [(CONV-RELU)*N-POOL]*M-(FC-RELU)*K, SOFTMAX).
    """
    require_image("convnet", shape, 2 ** len(channels))
    require(len(channels) >= 1, "convnet", "at least one convolution", channels=channels)
    return lambda rngs: ConvNet(shape, classes, channels=channels, rngs=rngs)
