"""The networks whose training steps are measured: the course's architectures, at sizes that two cores can train."""

from dataclasses import dataclass

from kernel_bench.layers import (
    LSTM,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Embedding,
    Flatten,
    GlobalAvgPool,
    Layer,
    Pool,
    Relu,
    Residual,
    Shape,
)


@dataclass(frozen=True)
class Net:
    """A network, the shape of a batch of its inputs, and the number of classes it tells apart.

    Inputs are images, or tokens below `classes` where the shape is (n, t). The loss is the mean cross entropy over
    all places that the output has but its last axis.
    """

    layers: tuple[Layer, ...]
    inputs: Shape
    classes: int


def conv_norm_relu(size: int, units: int, stride: int = 1) -> tuple[Layer, ...]:
    """Convolution, batch norm, relu."""
    return Conv(size, units, stride), BatchNorm(), Relu()


def resnet20(n: int = 128) -> Net:
    """Three stages of three residual blocks (He et al. 2015, section 4.2), with projections where the size changes."""
    layers: list[Layer] = [*conv_norm_relu(3, 16)]
    before = 16
    for units in (16, 32, 64):
        for _ in range(3):
            stride = 1 if units == before else 2
            shortcut = () if units == before else (Conv(1, units, stride), BatchNorm())
            body = (*conv_norm_relu(3, units, stride), Conv(3, units), BatchNorm())
            layers += [Residual(body, shortcut), Relu()]
            before = units
    return Net((*layers, GlobalAvgPool(), Affine(10)), (n, 32, 32, 3), 10)


def vgg(n: int = 32) -> Net:
    """Pairs of 3x3 convolutions with biases, each followed by 2x2 max pooling (Simonyan and Zisserman 2014)."""
    layers: list[Layer] = []
    for units in (32, 64, 128):
        for _ in range(2):
            layers += [Conv(3, units, bias=True), Relu()]
        layers.append(Pool("max", 2, 2))
    return Net((*layers, Flatten(), Affine(256), Relu(), Affine(10)), (n, 32, 32, 3), 10)


def lenet(n: int = 128) -> Net:
    """Two 5x5 convolutions with max pooling and three affine layers (LeCun et al. 1998, with relu)."""
    convolutions = (
        Conv(5, 6, bias=True), Relu(), Pool("max", 2, 2), Conv(5, 16, padding=0, bias=True), Relu(), Pool("max", 2, 2),
    )  # fmt: skip
    return Net((*convolutions, Flatten(), Affine(120), Relu(), Affine(84), Relu(), Affine(10)), (n, 28, 28, 1), 10)


def characters(n: int = 64, steps: int = 64) -> Net:
    """A character model: embedding, two LSTM layers, scores of the next character at every step."""
    return Net((Embedding(64, 128), LSTM(256), LSTM(256), Affine(64)), (n, steps), 64)


def fcn(n: int = 16) -> Net:
    """Down by strided convolutions, up by transpose convolutions to a class for every pixel (Long et al. 2015)."""
    down = (*conv_norm_relu(3, 32), *conv_norm_relu(3, 64, 2), *conv_norm_relu(3, 64, 2), *conv_norm_relu(3, 64))
    up = (ConvTranspose(4, 32, 2), BatchNorm(), Relu(), ConvTranspose(4, 16, 2), BatchNorm(), Relu())
    return Net((*down, *up, Conv(1, 10, bias=True)), (n, 64, 64, 3), 10)


def densenet(n: int = 32, growth: int = 12) -> Net:
    """Two dense blocks of four layers and a transition (Huang et al. 2016): every layer reads all before it."""
    layers: list[Layer] = [Conv(3, 2 * growth)]
    grown: Layer = Concat(((), (BatchNorm(), Relu(), Conv(3, growth))))
    layers += [grown] * 4
    layers += [BatchNorm(), Relu(), Conv(1, 3 * growth), Pool("avg", 2, 2)]
    layers += [grown] * 4
    return Net((*layers, BatchNorm(), Relu(), GlobalAvgPool(), Affine(10)), (n, 32, 32, 3), 10)


def googlenet(n: int = 16) -> Net:
    """Two Inception modules (Szegedy et al. 2014, figure 2b) on a stem, at a quarter of the paper's widths."""

    def inception(one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> Concat:
        return Concat((
            conv_norm_relu(1, one),
            (*conv_norm_relu(1, reduce3), *conv_norm_relu(3, three)),
            (*conv_norm_relu(1, reduce5), *conv_norm_relu(5, five)),
            (Pool("max", 3, 1, 1), *conv_norm_relu(1, pool)),
        ))  # fmt: skip

    layers = (
        *conv_norm_relu(3, 48), Pool("max", 3, 2, 1),
        inception(16, 24, 32, 4, 8, 8), inception(32, 32, 48, 8, 24, 16), Pool("max", 3, 2, 1), GlobalAvgPool(),
    )  # fmt: skip
    return Net((*layers, Affine(10)), (n, 32, 32, 3), 10)
