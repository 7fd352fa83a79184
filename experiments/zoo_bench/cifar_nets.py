"""The networks for small images in plain PyTorch, which torchvision has none of; modules are called as ours are."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu


def conv3x3(cin: int, cout: int, stride: int = 1) -> nn.Conv2d:
    """3x3 without a bias."""
    return nn.Conv2d(cin, cout, 3, stride, 1, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut without parameters (He et al. 2015, option A)."""

    def __init__(self, cin: int, width: int, stride: int):
        super().__init__()
        self.stride, self.more = stride, width - cin
        self.conv1, self.bn1 = conv3x3(cin, width, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv3x3(width, width), nn.BatchNorm2d(width)

    def shortcut(self, x: Tensor) -> Tensor:
        """Every `stride`-th pixel, with channels of zeros behind."""
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more)) if self.more else x

    def forward(self, x: Tensor) -> Tensor:
        """Activations to activations."""
        branch = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(self.shortcut(x) + branch)


class PreactBlock(Block):
    """The same with normalisation and ReLU before the convolutions (He et al. 2016), in the first block before one."""

    def __init__(self, cin: int, width: int, stride: int, *, first: bool = False):
        super().__init__(cin, width, stride)
        self.bn1 = nn.Identity() if first else nn.BatchNorm2d(cin)

    def forward(self, x: Tensor) -> Tensor:
        """Sums to sums."""
        branch = self.conv2(relu(self.bn2(self.conv1(relu(self.bn1(x))))))
        return self.shortcut(x) + branch


class ResNet(nn.Module):
    """ResNet-(6 n + 2) for 32x32 (He et al. 2015, section 4.2)."""

    def __init__(self, depth: int, *, preactivation: bool = False, classes: int = 10):
        super().__init__()
        self.conv1, self.bn1, cin = conv3x3(3, 16), nn.BatchNorm2d(16), 16
        for number, width in enumerate((16, 32, 64), 1):
            blocks: list[nn.Module] = []
            for place in range(depth // 6):
                stride = 2 if number > 1 and place == 0 else 1
                first = {"first": number == 1 and place == 0} if preactivation else {}
                blocks.append((PreactBlock if preactivation else Block)(cin, width, stride, **first))
                cin = width
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(cin) if preactivation else None
        self.fc = nn.Linear(cin, classes)

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        x = self.layer3(self.layer2(self.layer1(relu(self.bn1(self.conv1(x))))))
        x = x if self.bn is None else relu(self.bn(x))
        return self.fc(x.mean((2, 3)))


class DenseLayer(nn.Module):
    """1x1 to 4 `growth` maps and 3x3 to `growth` more, normalised before (Huang et al. 2017)."""

    def __init__(self, cin: int, growth: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(cin), nn.Conv2d(cin, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), conv3x3(4 * growth, growth)

    def forward(self, x: Tensor) -> Tensor:
        """The maps so far, with the new ones behind."""
        return torch.cat([x, self.conv2(relu(self.norm2(self.conv1(relu(self.norm1(x))))))], 1)


class Transition(nn.Module):
    """Half the maps at half the resolution."""

    def __init__(self, cin: int):
        super().__init__()
        self.norm, self.conv, self.pool = nn.BatchNorm2d(cin), nn.Conv2d(cin, cin // 2, 1, bias=False), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, mix, pool."""
        return self.pool(self.conv(relu(self.norm(x))))


class DenseNet(nn.Module):
    """DenseNet-BC for 32x32: three blocks of (depth - 4) / 6 layers."""

    def __init__(self, depth: int = 100, growth: int = 12, classes: int = 10):
        super().__init__()
        cin = 2 * growth
        self.features = nn.Sequential()
        self.features.add_module("conv0", conv3x3(3, cin))
        for number in (1, 2, 3):
            block = nn.Sequential()
            for layer in range(1, depth // 6 + 1):
                block.add_module(f"denselayer{layer}", DenseLayer(cin, growth))
                cin += growth
            self.features.add_module(f"denseblock{number}", block)
            if number < 3:
                self.features.add_module(f"transition{number}", Transition(cin))
                cin //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(cin))
        self.classifier = nn.Linear(cin, classes)

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        return self.classifier(relu(self.features(x)).mean((2, 3)))


CIFAR: Mapping[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: ResNet(20),
    "resnet56": lambda: ResNet(56),
    "preact_resnet20": lambda: ResNet(20, preactivation=True),
    "densenet_bc_100_12": DenseNet,
}
"""By the zoo's names."""
