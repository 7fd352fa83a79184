"""LeNet-5: convolution and subsampling twice, then three fully connected layers."""

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional import activations
from jax231.functional.initializers import gaussian, he, xavier
from jax231.models.images import require_image
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.conv import Conv
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer
from jax231.nn.pool import AvgPool, MaxPool

POOLS = {"avg": AvgPool, "max": MaxPool}


class LeNet(Layer):
    """``c1 - s2 - c3 - s4 - c5 - f6 - output`` of the paper's figure 2."""

    def __init__(
        self, shape: tuple[int, ...], classes: int, *, padding: int, activation: str, pool: str, rngs: nnx.Rngs
    ):
        height, width, depth = shape
        self.activation = getattr(activations, activation)
        first = he() if activation == "relu" else xavier()
        self.c1 = Conv(depth, 6, 5, padding=padding, kernel_init=first, rngs=rngs)
        self.s2 = POOLS[pool](2)
        self.c3 = Conv(6, 16, 5, padding="VALID", kernel_init=first, rngs=rngs)
        self.s4 = POOLS[pool](2)
        features = _last(height, padding) * _last(width, padding) * 16
        self.c5 = Affine(features, 120, kernel_init=first, rngs=rngs)
        self.f6 = Affine(120, 84, kernel_init=first, rngs=rngs)
        self.output = Affine(84, classes, kernel_init=gaussian(0.01), rngs=rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores of the classes."""
        f = self.activation
        s2 = self.s2(f(self.c1(images)))
        s4 = self.s4(f(self.c3(s2)))
        return self.output(f(self.f6(f(self.c5(flatten(s4))))))


def lenet(
    shape: tuple[int, ...], classes: int, *, padding: int = 0, activation: str = "tanh", pool: str = "avg"
) -> Constructor:
    """LeNet-5 as it is taught: subsampling is a plain mean ("avg") or maximum, and the output an affine map.

    In the paper each map of s2 and s4 is scaled and shifted by learned numbers and squashed, c3 sees only some of the
    maps of s2, and the output units are radial basis functions. `padding` of 2 puts images of 28x28 into the middle of
    32x32, as the paper does with those of MNIST.

    Shapes:  inputs (n, h, w, c) -> (n, classes); padded h and w at least 16.
    Raises:  ValueError for smaller images, a negative padding, an activation other than "tanh" and "relu", and other
             pooling.
    Source:  LeCun et al. 1998 (Gradient-based learning applied to document recognition), section II.B.
    """
    require_image("lenet", shape)
    large = min(shape[:2]) + 2 * padding >= 16
    require(padding >= 0, "lenet", "a padding of at least 0", padding=padding)
    require(large, "lenet", "images of at least 16x16 with their padding", shape=shape, padding=padding)
    require(activation in ("tanh", "relu"), "lenet", "tanh or relu", activation=activation)
    require(pool in POOLS, "lenet", f"a pool among {', '.join(POOLS)}", pool=pool)
    return lambda rngs: LeNet(shape, classes, padding=padding, activation=activation, pool=pool, rngs=rngs)


def _last(size: int, padding: int) -> int:
    """The height or width of s4."""
    return ((size + 2 * padding - 4) // 2 - 4) // 2
