"""Residual blocks: a branch of convolutions is added to the shortcut around it."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.activations import relu
from jax231.functional.initializers import he, zeros
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer
from jax231.nn.noise import StochasticDepth
from jax231.nn.norm import BatchNorm

SHORTCUTS = ("projection", "padding", "none")
"""Around a block that changes shape: option B of the paper, option A; "none" leaves out all shortcuts (a plain net)."""


class Projection(Layer):
    """A 1x1 convolution to the shape of the branch, normalised or not."""

    def __init__(self, cin: int, cout: int, stride: int, *, normalised: bool, rngs: nnx.Rngs):
        self.conv = Conv(cin, cout, 1, stride=stride, padding=0, bias=False, rngs=rngs)
        self.bn = BatchNorm(cout, rngs=rngs) if normalised else None

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow cout"]:
        """The shortcut's part of the sum."""
        x = self.conv(x)
        return x if self.bn is None else self.bn(x)


class PaddedShortcut(Layer):
    """Every `stride`-th pixel, with channels of zeros behind: a shortcut without parameters."""

    def __init__(self, cin: int, cout: int, stride: int):
        require(cin <= cout, "PaddedShortcut", "as many channels out as in, or more", cin=cin, cout=cout)
        self.stride, self.more = stride, cout - cin

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow cout"]:
        """The shortcut's part of the sum."""
        return jnp.pad(x[:, :: self.stride, :: self.stride], ((0, 0), (0, 0), (0, 0), (0, self.more)))


class ResidualBlock(Layer):
    """What all residual blocks share: the shortcut, and the sum, in which `drop` may leave out the branch.

    ``Block(cin, width, stride=, shortcut=, zero_init=, rate=, share=, rngs=)`` maps (n, h, w, cin) to
    (n, ceil(h / stride), ceil(w / stride), cout), where `cout` is `width` or, for a bottleneck, four times that. With
    `zero_init` the branch is zero at the start, so that a block without a projection is the identity (on what a ReLU
    has passed). `rate` above 0 makes a layer of stochastic depth, which drops the branch with probability
    ``share * rate``.

    Raises:  ValueError for an unknown kind of shortcut.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        stride: int,
        *,
        shortcut: str,
        normalised: bool,
        rate: float,
        share: float,
        rngs: nnx.Rngs,
    ):
        require(shortcut in SHORTCUTS, "ResidualBlock", f"a shortcut among {', '.join(SHORTCUTS)}", shortcut=shortcut)
        self.cout = cout
        self.plain = shortcut == "none"
        changes = not self.plain and (stride > 1 or cin != cout)
        if changes and shortcut == "projection":
            self.downsample = Projection(cin, cout, stride, normalised=normalised, rngs=rngs)
        else:
            self.downsample = PaddedShortcut(cin, cout, stride) if changes else None
        self.drop = StochasticDepth(rate, share=share, rngs=rngs) if rate and not self.plain else None

    def joined(
        self, x: Float[Array, "n h w cin"], branch: Float[Array, "n oh ow cout"]
    ) -> Float[Array, "n oh ow cout"]:
        """The branch on top of the shortcut."""
        if self.plain:
            return branch
        shortcut = x if self.downsample is None else self.downsample(x)
        return shortcut + branch if self.drop is None else self.drop(shortcut, branch)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions.

    Source:  He et al. 2015 (arXiv:1512.03385), figure 5 left.
    """

    def __init__(
        self,
        cin: int,
        width: int,
        *,
        stride: int = 1,
        shortcut: str = "projection",
        zero_init: bool = False,
        rate: float = 0.0,
        share: float = 1.0,
        rngs: nnx.Rngs,
    ):
        self.conv1 = Conv(cin, width, 3, stride=stride, padding=1, bias=False, rngs=rngs)
        self.bn1 = BatchNorm(width, relu=True, rngs=rngs)
        self.conv2 = Conv(width, width, 3, padding=1, bias=False, rngs=rngs)
        self.bn2 = BatchNorm(width, scale=float(not zero_init), rngs=rngs)
        super().__init__(cin, width, stride, shortcut=shortcut, normalised=True, rate=rate, share=share, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow width"]:
        """The activations after the sum."""
        branch = self.bn1(self.conv1(x))
        branch = self.bn2(self.conv2(branch))
        return relu(self.joined(x, branch))


class Bottleneck(ResidualBlock):
    """1x1 down to `width`, 3x3 (which takes the stride), 1x1 up to four times that.

    The paper strides in the first 1x1; in the 3x3, as torchvision and "ResNet v1.5" do, it costs more and does better.

    Source:  He et al. 2015 (arXiv:1512.03385), figure 5 right.
    """

    def __init__(
        self,
        cin: int,
        width: int,
        *,
        stride: int = 1,
        shortcut: str = "projection",
        zero_init: bool = False,
        rate: float = 0.0,
        share: float = 1.0,
        rngs: nnx.Rngs,
    ):
        cout = 4 * width
        self.conv1 = Conv(cin, width, 1, padding=0, bias=False, rngs=rngs)
        self.bn1 = BatchNorm(width, relu=True, rngs=rngs)
        self.conv2 = Conv(width, width, 3, stride=stride, padding=1, bias=False, rngs=rngs)
        self.bn2 = BatchNorm(width, relu=True, rngs=rngs)
        self.conv3 = Conv(width, cout, 1, padding=0, bias=False, rngs=rngs)
        self.bn3 = BatchNorm(cout, scale=float(not zero_init), rngs=rngs)
        super().__init__(cin, cout, stride, shortcut=shortcut, normalised=True, rate=rate, share=share, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow cout"]:
        """The activations after the sum."""
        branch = self.bn1(self.conv1(x))
        branch = self.bn2(self.conv2(branch))
        branch = self.bn3(self.conv3(branch))
        return relu(self.joined(x, branch))


class PreactBasicBlock(ResidualBlock):
    """Normalisation and ReLU before each of two 3x3 convolutions, nothing after the sum.

    A projection reads the activations, every other shortcut `x` itself; `activated` says that `x` are activations
    already, as in the first block of a net.

    Source:  He et al. 2016 (arXiv:1603.05027), figure 1 (b) and appendix.
    """

    def __init__(
        self,
        cin: int,
        width: int,
        *,
        stride: int = 1,
        shortcut: str = "projection",
        zero_init: bool = False,
        rate: float = 0.0,
        share: float = 1.0,
        activated: bool = False,
        rngs: nnx.Rngs,
    ):
        last = zeros() if zero_init else he()
        self.bn1 = None if activated else BatchNorm(cin, relu=True, rngs=rngs)
        self.conv1 = Conv(cin, width, 3, stride=stride, padding=1, bias=False, rngs=rngs)
        self.bn2 = BatchNorm(width, relu=True, rngs=rngs)
        self.conv2 = Conv(width, width, 3, padding=1, bias=False, kernel_init=last, rngs=rngs)
        super().__init__(cin, width, stride, shortcut=shortcut, normalised=False, rate=rate, share=share, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow width"]:
        """The sum, not activated."""
        activations = x if self.bn1 is None else self.bn1(x)
        branch = self.conv1(activations)
        branch = self.conv2(self.bn2(branch))
        return self.joined(activations if isinstance(self.downsample, Projection) else x, branch)


class PreactBottleneck(ResidualBlock):
    """`Bottleneck` with normalisation and ReLU before each convolution; `activated` as in `PreactBasicBlock`.

    Source:  He et al. 2016 (arXiv:1603.05027), section 4.1 and appendix.
    """

    def __init__(
        self,
        cin: int,
        width: int,
        *,
        stride: int = 1,
        shortcut: str = "projection",
        zero_init: bool = False,
        rate: float = 0.0,
        share: float = 1.0,
        activated: bool = False,
        rngs: nnx.Rngs,
    ):
        cout, last = 4 * width, zeros() if zero_init else he()
        self.bn1 = None if activated else BatchNorm(cin, relu=True, rngs=rngs)
        self.conv1 = Conv(cin, width, 1, padding=0, bias=False, rngs=rngs)
        self.bn2 = BatchNorm(width, relu=True, rngs=rngs)
        self.conv2 = Conv(width, width, 3, stride=stride, padding=1, bias=False, rngs=rngs)
        self.bn3 = BatchNorm(width, relu=True, rngs=rngs)
        self.conv3 = Conv(width, cout, 1, padding=0, bias=False, kernel_init=last, rngs=rngs)
        super().__init__(cin, cout, stride, shortcut=shortcut, normalised=False, rate=rate, share=share, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n oh ow cout"]:
        """The sum, not activated."""
        activations = x if self.bn1 is None else self.bn1(x)
        branch = self.conv1(activations)
        branch = self.conv2(self.bn2(branch))
        branch = self.conv3(self.bn3(branch))
        return self.joined(activations if isinstance(self.downsample, Projection) else x, branch)
