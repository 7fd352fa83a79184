"""DenseNet: blocks in which every layer reads all feature maps before it; the family for ImageNet.

`jax231.models.densenet_cifar` is the family for small images, of the same class.
"""

from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.initializers import gaussian
from jax231.models.images import require_image
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.conv import Conv
from jax231.nn.dense import DenseBlock, Transition
from jax231.nn.layer import Layer
from jax231.nn.norm import BatchNorm
from jax231.nn.pool import GlobalAvgPool, MaxPool

DEPTHS: dict[int, tuple[int, ...]] = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}
"""Table 1 of the paper: layers of each block."""


class DenseNet(Layer):
    """A convolution, dense blocks with transitions that halve maps and image between them, mean, affine map.

    `blocks` counts the layers of each block; the first convolution puts out `width` maps, every layer adds `growth`.
    With `large_images` the convolution is 7x7 with stride 2, normalised, and a max pool with stride 2 follows;
    otherwise it is 3x3 and alone. Names are torchvision's: ``conv0 norm0 denseblock1 transition1 ... norm5
    classifier``, ``denselayer1`` and so on in a block.

    Shapes:  (n, h, w, c) -> (n, classes).
    Source:  Huang et al. 2017 (arXiv:1608.06993), figure 2 and table 1.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        growth: int,
        width: int,
        classes: int,
        *,
        channels: int = 3,
        large_images: bool = True,
        dropout: float = 0.0,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        if large_images:
            self.conv0 = Conv(channels, width, 7, stride=2, padding=3, bias=False, rngs=rngs)
        else:
            self.conv0 = Conv(channels, width, 3, padding=1, bias=False, rngs=rngs)
        self.norm0 = BatchNorm(width, relu=True, rngs=rngs) if large_images else None
        self.pool0 = MaxPool(3, stride=2, padding=1) if large_images else None
        cin, steps = width, []
        for number, layers in enumerate(blocks, 1):
            block = DenseBlock(cin, layers, growth, dropout=dropout, remat=remat, rngs=rngs)
            setattr(self, f"denseblock{number}", block)
            steps.append(f"denseblock{number}")
            cin = block.cout
            if number < len(blocks):
                transition = Transition(cin, rngs=rngs)
                setattr(self, f"transition{number}", transition)
                steps.append(f"transition{number}")
                cin = transition.cout
        self.steps = tuple(steps)
        self.norm5 = BatchNorm(cin, relu=True, rngs=rngs)
        self.mean = GlobalAvgPool()
        self.classifier = Affine(cin, classes, kernel_init=gaussian(0.01), rngs=rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores."""
        x = self.conv0(x)
        if self.norm0 is not None and self.pool0 is not None:
            x = self.pool0(self.norm0(x))
        for step in self.steps:
            x = getattr(self, step)(x)
        return self.classifier(self.mean(self.norm5(x)))


def densenet(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 121,
    blocks: Sequence[int] | None = None,
    growth: int = 32,
    width: int = 64,
    dropout: float = 0.0,
    remat: bool = False,
) -> Constructor:
    """DenseNet-121, 169 or 201, with bottlenecks and compression ("BC").

    `blocks` in place of the depth's own makes another net of the same layers; `dropout` follows each of them. `remat`
    is that of `dense.DenseBlock`.

    Raises:  ValueError for a depth that is not in the paper's table, and for images that are too small to be halved
             between blocks, 29x29 with four of them.
    """
    require(depth in DEPTHS, "densenet", f"a depth among {', '.join(map(str, DEPTHS))}", depth=depth)
    blocks = DEPTHS[depth] if blocks is None else blocks
    require_image("densenet", shape, 4 * (2 ** (len(blocks) - 1) - 1) + 1)
    options = {"channels": shape[2], "dropout": dropout, "remat": remat}
    return lambda rngs: DenseNet(blocks, growth, width, classes, **options, rngs=rngs)
