"""The networks as PyTorch modules, channels last, with the same initial parameters."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from kernel_bench import layers as ls
from kernel_bench.layers import Layer, Shape

Kept = list[tuple[nn.Parameter, Callable[[np.ndarray], np.ndarray]]]
"""Parameters in the order of jax231's, each with what brings its arrays into jax231's layout."""

GATES = (0, 1, 3, 2)
"""Places of PyTorch's LSTM gates i, f, g, o among ours i, f, o, g, and the other way round."""


def kernel_to_torch(x: np.ndarray) -> np.ndarray:
    """(kh, kw, in, out) to (out, in, kh, kw); of a transpose convolution (kh, kw, out, in) to (in, out, kh, kw)."""
    return x.transpose(3, 2, 0, 1)


def kernel_to_ours(x: np.ndarray) -> np.ndarray:
    """The way back."""
    return x.transpose(2, 3, 1, 0)


def gates_to_torch(x: np.ndarray) -> np.ndarray:
    """(d, gates * h) to (gates * h, d), or a bias, with the LSTM's gates in PyTorch's order."""
    blocks = np.split(x, 4, axis=-1)
    return np.concatenate([blocks[i] for i in GATES], -1).T


def gates_to_ours(x: np.ndarray) -> np.ndarray:
    """The way back."""
    return gates_to_torch(x.T).T


class Residual(nn.Module):
    """``shortcut(x) + body(x)``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the two."""
        return self.body(x) + self.shortcut(x)


class Concat(nn.Module):
    """Branches side by side along the channels."""

    def __init__(self, branches: Sequence[nn.Module]):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the branches."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class Rows(nn.Module):
    """Images as rows in the order height, width, channel: a view where they lie channels last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reorder the axes, then flatten."""
        return x.permute(0, 2, 3, 1).flatten(1)


class Mean(nn.Module):
    """The mean of each channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Over height and width."""
        return x.mean((2, 3))


class Outputs(nn.Module):
    """The outputs of a recurrent layer, without its last carry."""

    def __init__(self, layer: nn.LSTM):
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From a carry of zeros."""
        return self.layer(x)[0]


def build(layers: Sequence[Layer], shape: Shape, params: Iterator[dict[str, np.ndarray]], kept: Kept) -> nn.Sequential:
    """Modules for layers that see batches of `shape`, which is in jax231's layout.

    Parameters are taken as they come, and PyTorch's own are added to `kept`.
    """
    modules: list[nn.Module] = []

    def keep(parameter: nn.Parameter, value: np.ndarray, to_torch: Callable, to_ours: Callable) -> None:
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(to_torch(value))))
        kept.append((parameter, to_ours))

    for layer in layers:
        channels = shape[-1]
        match layer:
            case ls.Conv(size, units, stride, bias=bias):
                modules.append(module := nn.Conv2d(channels, units, size, stride, layer.pad, bias=bias))
                values = next(params)
                if bias:
                    keep(module.bias, values["bias"], _same, _same)
                keep(module.weight, values["kernel"], kernel_to_torch, kernel_to_ours)
            case ls.ConvTranspose(size, units, stride):
                padding = (size - stride) // 2
                modules.append(module := nn.ConvTranspose2d(channels, units, size, stride, padding, bias=False))
                keep(module.weight, next(params)["kernel"], kernel_to_torch, kernel_to_ours)
            case ls.BatchNorm():
                modules.append(module := nn.BatchNorm2d(channels))
                values = next(params)
                keep(module.bias, values["bias"], _same, _same)
                keep(module.weight, values["scale"], _same, _same)
            case ls.Relu():
                modules.append(nn.ReLU())
            case ls.Pool("max", size, stride, padding):
                modules.append(nn.MaxPool2d(size, stride, padding))
            case ls.Pool(_, size, stride):
                modules.append(nn.AvgPool2d(size, stride))
            case ls.GlobalAvgPool():
                modules.append(Mean())
            case ls.Flatten():
                modules.append(Rows())
            case ls.Affine(units):
                values = next(params)
                modules.append(module := nn.Linear(len(values["weight"]), units))
                keep(module.bias, values["bias"], _same, _same)
                keep(module.weight, values["weight"], turned, turned)
            case ls.Embedding(vocabulary, units):
                modules.append(module := nn.Embedding(vocabulary, units))
                keep(module.weight, next(params)["table"], _same, _same)
            case ls.LSTM(units):
                lstm, values = nn.LSTM(channels, units, batch_first=True), next(params)
                nn.init.zeros_(lstm.bias_hh_l0).requires_grad_(False)  # we have one bias
                for parameter, name in ((lstm.bias_ih_l0, "b"), (lstm.weight_hh_l0, "wh"), (lstm.weight_ih_l0, "wx")):
                    keep(parameter, values[name], gates_to_torch, gates_to_ours)
                modules.append(Outputs(lstm))
            case ls.Residual(body, shortcut):
                modules.append(Residual(*(build(part, shape, params, kept) for part in (body, shortcut))))
            case ls.Concat(branches):
                modules.append(Concat([build(branch, shape, params, kept) for branch in branches]))
        shape = ls.output_shape((layer,), shape)
    return nn.Sequential(*modules)


def turned(x: np.ndarray) -> np.ndarray:
    """A weight (d, units) as (units, d), or back; a bias stays as it is."""
    return x.T


def _same(x: np.ndarray) -> np.ndarray:
    return x
