"""What is measured: operations with their shapes, whole training steps, and the forms in which each is run."""

from dataclasses import dataclass
from typing import Literal

from kernel_bench import nets
from kernel_bench.layers import Shape
from kernel_bench.nets import Net

Form = Literal["forward", "gradient", "scan", "vmap", "linearized", "oneshot"]
"""How a case is run.

For an operation "gradient" is the forward pass and the gradients of half the squared output in all operands; for a
network it is a whole training step. "scan" is the same several times in a loop whose carry is what came before,
"vmap" the same for several models at once; their times are those of one iteration and of one model. "linearized" and
"oneshot" are Hessian-vector products, the former with the linearization made before.
"""

LOOP = {"operation": 4, "network": 3}
"""Iterations of a "scan"."""

MODELS = 4
"""Models of a "vmap"."""


@dataclass(frozen=True)
class Conv:
    """Convolution of x (n, h, w, c) with a kernel (kh, kw, cin, cout)."""

    x: Shape
    kernel: Shape
    stride: int = 1
    padding: int = 1
    groups: int = 1


@dataclass(frozen=True)
class ConvTranspose:
    """Transpose convolution to `stride` times the size; kernel (kh, kw, out, in)."""

    x: Shape
    kernel: Shape
    stride: int


@dataclass(frozen=True)
class Pool:
    """Pooling, "max" or "avg", with a square window."""

    kind: str
    x: Shape
    size: int
    stride: int


@dataclass(frozen=True)
class Recurrent:
    """A stack of "lstm" or "rnn" layers over (n, t, d) with h units each."""

    cell: str
    x: Shape
    units: int
    layers: int = 1


@dataclass(frozen=True)
class Neighbors:
    """The label of most of the k nearest of `train` examples, for `queries` others."""

    train: int
    queries: int
    features: int
    k: int


@dataclass(frozen=True)
class Training:
    """A step of SGD with momentum: gradients, batch norm in training mode, updates."""

    net: Net


@dataclass(frozen=True)
class Curvature:
    """The gradient of a network's loss, and Hessian-vector products."""

    net: Net


@dataclass(frozen=True)
class Peak:
    """What this machine can do: a product of square matrices, or a copy, of `size` rows."""

    kind: str
    size: int


Work = Conv | ConvTranspose | Pool | Recurrent | Neighbors | Training | Curvature | Peak


@dataclass(frozen=True)
class Case:
    """One work, its name on the command line, its group, and a title for tables."""

    name: str
    group: str
    title: str
    work: Work

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms in which it is measured, in this order."""
        match self.work:
            case Neighbors() | Peak():
                return ("forward",)
            case Training():
                return ("gradient", "scan", "vmap")
            case Curvature():
                return ("gradient", "linearized", "oneshot")
        return ("forward", "gradient", "scan", "vmap")

    def repeats(self, form: Form) -> int:
        """How often one call does the work: iterations of a loop, models of a map."""
        if form == "scan":
            return LOOP["network" if isinstance(self.work, Training) else "operation"]
        return MODELS if form == "vmap" else 1


Group = Literal["peak", "conv", "pool", "transpose", "recurrent", "neighbors", "curvature", "training"]

Name = Literal[
    "peak-matmul", "peak-copy", "conv-rgb", "conv-16", "conv-32", "conv-64", "conv-vgg", "conv-512", "conv-stride2",
    "conv-1x1", "conv-lenet", "conv-7x7", "conv-depthwise", "conv-grouped", "conv-large", "maxpool-2x2", "maxpool-3x3",
    "avgpool-2x2", "transpose-4x4", "lstm-1", "lstm-2", "rnn-1", "knn", "hvp-resnet20", "resnet20", "vgg", "lenet",
    "characters", "fcn", "densenet", "googlenet",
]  # fmt: skip

CASES = (
    Case("peak-matmul", "peak", "matrix product, 2048", Peak("matmul", 2048)),
    Case("peak-copy", "peak", "memory copy, 256 MiB", Peak("copy", 2**26)),
    Case("conv-rgb", "conv", "3x3, 3 to 16, 32x32, n 128", Conv((128, 32, 32, 3), (3, 3, 3, 16))),
    Case("conv-16", "conv", "3x3, 16 to 16, 32x32, n 128", Conv((128, 32, 32, 16), (3, 3, 16, 16))),
    Case("conv-32", "conv", "3x3, 32 to 32, 16x16, n 128", Conv((128, 16, 16, 32), (3, 3, 32, 32))),
    Case("conv-64", "conv", "3x3, 64 to 64, 8x8, n 128", Conv((128, 8, 8, 64), (3, 3, 64, 64))),
    Case("conv-vgg", "conv", "3x3, 32 to 64, 32x32, n 64", Conv((64, 32, 32, 32), (3, 3, 32, 64))),
    Case("conv-512", "conv", "3x3, 512 to 512, 7x7, n 8", Conv((8, 7, 7, 512), (3, 3, 512, 512))),
    Case("conv-stride2", "conv", "3x3 stride 2, 16 to 32, 32x32, n 128", Conv((128, 32, 32, 16), (3, 3, 16, 32), 2)),
    Case("conv-1x1", "conv", "1x1, 64 to 256, 16x16, n 32", Conv((32, 16, 16, 64), (1, 1, 64, 256), padding=0)),
    Case("conv-lenet", "conv", "5x5, 6 to 16, 14x14, n 128", Conv((128, 14, 14, 6), (5, 5, 6, 16), padding=0)),
    Case("conv-7x7", "conv", "7x7 stride 2, 3 to 64, 224x224, n 8", Conv((8, 224, 224, 3), (7, 7, 3, 64), 2, 3)),
    Case("conv-depthwise", "conv", "3x3 depthwise, 64, 32x32, n 32", Conv((32, 32, 32, 64), (3, 3, 1, 64), groups=64)),
    Case("conv-grouped", "conv", "3x3, 8 groups, 64 to 64, 16x16, n 64",
         Conv((64, 16, 16, 64), (3, 3, 8, 64), groups=8)),
    Case("conv-large", "conv", "3x3, 32 to 32, 256x256, n 2", Conv((2, 256, 256, 32), (3, 3, 32, 32))),
    Case("maxpool-2x2", "pool", "max 2x2/2, (64, 32, 32, 32)", Pool("max", (64, 32, 32, 32), 2, 2)),
    Case("maxpool-3x3", "pool", "max 3x3/2, (64, 32, 32, 32)", Pool("max", (64, 32, 32, 32), 3, 2)),
    Case("avgpool-2x2", "pool", "average 2x2/2, (64, 32, 32, 32)", Pool("avg", (64, 32, 32, 32), 2, 2)),
    Case("transpose-4x4", "transpose", "4x4 stride 2, (16, 16, 16, 64) to 32",
         ConvTranspose((16, 16, 16, 64), (4, 4, 32, 64), 2)),
    Case("lstm-1", "recurrent", "LSTM, 64 steps, n 64, 128 to 256", Recurrent("lstm", (64, 64, 128), 256)),
    Case("lstm-2", "recurrent", "LSTM, 2 layers, 64 steps, n 64, 128 to 256", Recurrent("lstm", (64, 64, 128), 256, 2)),
    Case("rnn-1", "recurrent", "RNN, 64 steps, n 64, 128 to 256", Recurrent("rnn", (64, 64, 128), 256)),
    Case("knn", "neighbors", "k 5, 20,000 x 2,000 x 784", Neighbors(20_000, 2_000, 784, 5)),
    Case("hvp-resnet20", "curvature", "ResNet-20, n 128", Curvature(nets.resnet20())),
    Case("resnet20", "training", "ResNet-20, 32x32, n 128", Training(nets.resnet20())),
    Case("vgg", "training", "VGG-like, 6 convolutions, n 32", Training(nets.vgg())),
    Case("lenet", "training", "LeNet, 28x28, n 128", Training(nets.lenet())),
    Case("characters", "training", "character LSTM, 2 x 256, 64 steps, n 64", Training(nets.characters())),
    Case("fcn", "training", "FCN with transpose convolutions, 64x64, n 16", Training(nets.fcn())),
    Case("densenet", "training", "DenseNet blocks, 32x32, n 32", Training(nets.densenet())),
    Case("googlenet", "training", "GoogLeNet modules, 32x32, n 16", Training(nets.googlenet())),
)  # fmt: skip


def chosen(names: tuple[str, ...]) -> tuple[Case, ...]:
    """The cases of these names or groups, all where there are none; the peaks are always among them."""
    return tuple(c for c in CASES if not names or c.group == "peak" or c.name in names or c.group in names)
