"""Residual networks: He et al. 2015, and with pre-activation 2016; the family for ImageNet.

`jax231.models.resnet_cifar` is the family for small images, of the same class.
"""

from collections.abc import Callable, Sequence

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.initializers import gaussian
from jax231.models.images import require_image
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer
from jax231.nn.norm import BatchNorm
from jax231.nn.pool import GlobalAvgPool, MaxPool
from jax231.nn.residual import BasicBlock, Bottleneck, PreactBasicBlock, PreactBottleneck, ResidualBlock
from jax231.nn.sequential import rematerialized

Block = Callable[..., ResidualBlock]
"""A class of `jax231.nn.residual`."""

DEPTHS: dict[int, tuple[Block, tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
"""Table 1 of the paper: the kind of block, and how many a stage."""

PREACTIVATED: dict[Block, Block] = {BasicBlock: PreactBasicBlock, Bottleneck: PreactBottleneck}


class ResNet(Layer):
    """A convolution, stages of residual blocks of which each but the first halves the image, mean, affine map.

    `stages` counts the blocks of each stage; the first is `width` wide and each next one twice as wide as that before.
    With `large_images` the first convolution is 7x7 with stride 2 and a max pool with stride 2 follows, otherwise it is
    3x3. Block l of L is dropped in training with probability ``l / L * stochastic_depth`` (kind "stochastic_depth").

    Names are torchvision's: ``conv1 bn1 layer1 ... fc``, ``conv1 bn1 ... downsample`` in a block.

    Shapes:  (n, h, w, c) -> (n, classes).
    Source:  He et al. 2015 (arXiv:1512.03385), 2016 (arXiv:1603.05027); Huang et al. 2016 (arXiv:1603.09382).
    """

    def __init__(
        self,
        block: Block,
        stages: Sequence[int],
        width: int,
        classes: int,
        *,
        channels: int = 3,
        large_images: bool = True,
        preactivation: bool = False,
        shortcut: str = "projection",
        zero_init: bool = False,
        stochastic_depth: float = 0.0,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        block = PREACTIVATED[block] if preactivation else block
        self.remat = remat
        if large_images:
            self.conv1 = Conv(channels, width, 7, stride=2, padding=3, bias=False, rngs=rngs)
        else:
            self.conv1 = Conv(channels, width, 3, padding=1, bias=False, rngs=rngs)
        self.bn1 = BatchNorm(width, relu=True, rngs=rngs)
        self.pool = MaxPool(3, stride=2, padding=1) if large_images else None

        self.stages = tuple(f"layer{number}" for number, _ in enumerate(stages, 1))
        cin, built, total = width, 0, sum(stages)
        for number, (name, blocks) in enumerate(zip(self.stages, stages, strict=True)):
            layers = []
            for place in range(blocks):
                built += 1
                first = {"activated": True} if preactivation and built == 1 else {}
                layers.append(
                    block(
                        cin,
                        width * 2**number,
                        stride=2 if number > 0 and place == 0 else 1,
                        shortcut=shortcut,
                        zero_init=zero_init,
                        rate=stochastic_depth,
                        share=built / total,
                        rngs=rngs,
                        **first,
                    )
                )
                cin = layers[-1].cout
            setattr(self, name, nnx.List(layers))
        self.bn = BatchNorm(cin, relu=True, rngs=rngs) if preactivation else None
        self.mean = GlobalAvgPool()
        self.fc = Affine(cin, classes, kernel_init=gaussian(0.01), rngs=rngs)

    def features(self, x: Float[Array, "n h w c"]) -> list[Float[Array, "n _ _ _"]]:
        """What each stage puts out; the last is what the scores are made of."""
        x = self.bn1(self.conv1(x))
        if self.pool is not None:
            x = self.pool(x)
        outputs = []
        for name in self.stages:
            for block in getattr(self, name):
                x = rematerialized(block, x) if self.remat else block(x)
            outputs.append(x)
        if self.bn is not None:
            outputs[-1] = self.bn(x)
        return outputs

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores."""
        return self.fc(self.mean(self.features(x)[-1]))


def resnet(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 50,
    stages: Sequence[int] | None = None,
    width: int = 64,
    residual: bool = True,
    preactivation: bool = False,
    zero_init: bool = False,
    stochastic_depth: float = 0.0,
    remat: bool = False,
) -> Constructor:
    """ResNet-18, 34, 50, 101 or 152; strides as torchvision ("v1.5"), see `residual.Bottleneck`.

    `stages` in place of the depth's own makes another net of the same blocks. Without `residual` there are no
    shortcuts: the plain net, which the paper trains for comparison. With `zero_init` every block starts as the identity
    (Goyal et al. 2017, arXiv:1706.02677, section 5.1). `remat` forms the inside of blocks again in the backward pass.

    Raises:  ValueError for a depth that is not in the paper's table and for shapes other than (h, w, c).
    """
    require_image("resnet", shape)
    require(depth in DEPTHS, "resnet", f"a depth among {', '.join(map(str, DEPTHS))}", depth=depth)
    block, counts = DEPTHS[depth]
    return lambda rngs: ResNet(
        block,
        counts if stages is None else stages,
        width,
        classes,
        channels=shape[2],
        preactivation=preactivation,
        shortcut="projection" if residual else "none",
        zero_init=zero_init,
        stochastic_depth=stochastic_depth,
        remat=remat,
        rngs=rngs,
    )
