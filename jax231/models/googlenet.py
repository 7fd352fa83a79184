"""GoogLeNet: inception modules, and auxiliary classifiers that bring gradients to its lower half."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.activations import relu
from jax231.functional.initializers import gaussian
from jax231.models.images import require_image
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.flatten import flatten
from jax231.nn.inception import BasicConv, Inception, Widths, scaled
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout
from jax231.nn.pool import AdaptiveAvgPool, GlobalAvgPool, MaxPool
from jax231.nn.sequential import rematerialized

MODULES: Mapping[str, Widths] = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
"""Table 1 of the paper."""


class GoogLeNetOutputs(NamedTuple):
    """The scores in training: the net's, and its heads', in torchvision's order."""

    logits: Float[Array, "n classes"]
    aux_logits2: Float[Array, "n classes"]
    aux_logits1: Float[Array, "n classes"]


class AuxiliaryHead(Layer):
    """Average pooling to 4x4, a 1x1 convolution, and two affine maps with dropout (kind "aux_dropout") between.

    Source:  Szegedy et al. 2015 (arXiv:1409.4842), section 5.
    """

    def __init__(self, cin: int, width: int, units: int, classes: int, *, dropout: float, rngs: nnx.Rngs):
        self.pool = AdaptiveAvgPool(4)
        self.conv = BasicConv(cin, width, 1, rngs=rngs)
        self.fc1 = Affine(16 * width, units, rngs=rngs)
        self.dropout = Dropout(dropout, kind="aux_dropout", rngs=rngs)
        self.fc2 = Affine(units, classes, kernel_init=gaussian(0.01), rngs=rngs)

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n classes"]:
        """The scores."""
        x = flatten(self.conv(self.pool(x)))
        return self.fc2(self.dropout(relu(self.fc1(x))))


class GoogLeNet(Layer):
    """Three convolutions, inception modules in stages with a max pool before each, mean, dropout, affine map.

    `modules` name the inception modules, and `width` multiplies all channels. With `auxiliary` heads, which read the
    first and the last but one module of stage 4, the net returns in training `GoogLeNetOutputs`, for
    `losses.auxiliary_cross_entropy`; in evaluation, or without heads, its scores alone. Names, pools rounded up,
    normalisation and heads are torchvision's: ``conv1 ... inception3a ... aux1 aux2 fc``.

    Shapes:  (n, h, w, c) -> (n, classes), or three times that.
    Source:  Szegedy et al. 2015 (arXiv:1409.4842), table 1 and section 5.
    """

    def __init__(
        self,
        modules: Sequence[str],
        width: float,
        classes: int,
        *,
        channels: int = 3,
        auxiliary: bool = True,
        dropout: float = 0.2,
        aux_dropout: float = 0.7,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        self.remat = remat
        self.deterministic = False
        self.conv1 = BasicConv(channels, scaled(64, width), 7, stride=2, padding=3, rngs=rngs)
        self.maxpool1 = MaxPool(3, stride=2, ceil=True)
        self.conv2 = BasicConv(scaled(64, width), scaled(64, width), 1, rngs=rngs)
        self.conv3 = BasicConv(scaled(64, width), cin := scaled(192, width), 3, padding=1, rngs=rngs)
        fours = [module for module in modules if module[0] == "4"] if auxiliary else []
        heads = {"aux1": fours[:1], "aux2": fours[-2:][:1]}
        steps: list[tuple[str, tuple[str, ...]]] = []
        stage = ""
        for module in modules:
            if module[0] != stage:
                stage = module[0]
                pool = f"maxpool{int(stage) - 1}"
                setattr(self, pool, MaxPool(2 if stage == "5" else 3, stride=2, ceil=True))
                steps.append((pool, ()))
            inception = Inception(cin, MODULES[module].scaled(width), rngs=rngs)
            cin = inception.cout
            setattr(self, f"inception{module}", inception)
            readers = tuple(head for head, read in heads.items() if module in read)
            steps.append((f"inception{module}", readers))
            for head in readers:
                sizes = (cin, scaled(128, width), scaled(1024, width), classes)
                setattr(self, head, AuxiliaryHead(*sizes, dropout=aux_dropout, rngs=rngs))
        self.steps = tuple(steps)
        self.avgpool = GlobalAvgPool()
        self.dropout = Dropout(dropout, rngs=rngs)
        self.fc = Affine(cin, classes, kernel_init=gaussian(0.01), rngs=rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n classes"] | GoogLeNetOutputs:
        """The scores; in training those of the heads, too."""
        heads = {}
        x = self.conv3(self.conv2(self.maxpool1(self.conv1(x))))
        for step, readers in self.steps:
            layer = getattr(self, step)
            x = rematerialized(layer, x) if self.remat and isinstance(layer, Inception) else layer(x)
            for head in () if self.deterministic else readers:
                heads[head] = getattr(self, head)(x)
        scores = self.fc(self.dropout(self.avgpool(x)))
        return GoogLeNetOutputs(scores, heads["aux2"], heads["aux1"]) if heads else scores


def googlenet(
    shape: tuple[int, ...],
    classes: int,
    *,
    modules: Sequence[str] = tuple(MODULES),
    width: float = 1.0,
    auxiliary: bool = True,
    dropout: float = 0.2,
    aux_dropout: float = 0.7,
    remat: bool = False,
) -> Constructor:
    """GoogLeNet as torchvision has it; its trained weights want images scaled to [-1, 1].

    `remat` forms the inside of modules again in the backward pass.

    Raises:  ValueError for images below 15x15, modules that are unknown or out of order, and none of stage 4 for the
             heads to read.
    """
    require_image("googlenet", shape, 15)
    modules = tuple(modules)
    known = bool(modules) and modules == tuple(module for module in MODULES if module in modules)
    require(known, "googlenet", f"modules among {', '.join(MODULES)}, in this order", modules=modules)
    reads = not auxiliary or any(module[0] == "4" for module in modules)
    require(reads, "googlenet", "a module of stage 4 for the heads", modules=modules)
    return lambda rngs: GoogLeNet(
        modules,
        width,
        classes,
        channels=shape[2],
        auxiliary=auxiliary,
        dropout=dropout,
        aux_dropout=aux_dropout,
        remat=remat,
        rngs=rngs,
    )
