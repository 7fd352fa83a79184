"""The networks in PyTorch, with random weights that leave no term out and keep scores near one."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo_bench.cifar_nets import CIFAR
from zoo_bench.shared import PEERS
from zoo_bench.torchvision_models import models

HEAD_WEIGHT = 0.3
"""What the loss of an auxiliary head counts."""


class CharLSTM(nn.Module):
    """Embedded by one-hot vectors, two LSTM layers, scores at every step: `char_lstm` of the zoo.

    PyTorch adds a second bias to each layer; it stays zero.
    """

    def __init__(self, vocabulary: int = 65, hidden: int = 128, layers: int = 2):
        super().__init__()
        self.vocabulary = vocabulary
        self.recurrent = nn.LSTM(vocabulary, hidden, layers, batch_first=True)
        self.scores = nn.Linear(hidden, vocabulary)
        for name, parameter in self.recurrent.named_parameters():
            if name.startswith("bias_hh"):
                nn.init.zeros_(parameter).requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Of tokens (n, t) the scores (n, v, t), with classes where PyTorch's cross entropy wants them."""
        x = functional.one_hot(tokens, self.vocabulary).to(self.scores.weight.dtype)
        return self.scores(self.recurrent(x)[0]).mT


def build(name: str) -> nn.Module:
    """The network that the zoo calls `name`, as PyTorch initialises it."""
    if name in CIFAR:
        return CIFAR[name]()
    peer = PEERS[name]
    return CharLSTM() if peer.torchvision is None else getattr(models(), peer.torchvision)(**dict(peer.options))


def randomise(net: nn.Module, seed: int = 231) -> None:
    """Kernels, biases, scales, shifts and running statistics that are all different, and keep activations near one.

    So the last scales of residual branches are small: fifty of them are added.
    """
    generator = torch.Generator().manual_seed(seed)
    ends = {id(getattr(block, "bn3", block.bn2)) for block in net.modules() if hasattr(block, "downsample")}
    for module in net.modules():
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            values = tensor.data
            if name == "running_var":
                values.uniform_(0.5, 1.5, generator=generator)
            elif name == "weight" and isinstance(module, nn.BatchNorm2d):
                low, high = (0.05, 0.2) if id(module) in ends else (0.5, 1.3)
                values.uniform_(low, high, generator=generator)
            elif values.ndim > 1:
                gain = 2 if isinstance(module, nn.Conv2d) else 1
                values.normal_(0, (gain / values[0].numel()) ** 0.5, generator=generator)
            elif values.ndim == 1 and not name.startswith("bias_hh"):
                values.normal_(0, 0.1, generator=generator)


def without_dropout(net: nn.Module) -> None:
    """Let all random layers pass what they get."""
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def loss(outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """The mean cross entropy, with that of auxiliary heads."""
    main, *heads = outputs if isinstance(outputs, tuple) else (outputs,)
    total = functional.cross_entropy(main, labels)
    for head in heads:
        total = total + HEAD_WEIGHT * functional.cross_entropy(head, labels)
    return total


def fed(x: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images (n, h, w, c) as PyTorch's (n, c, h, w), without a copy; tokens (n, t) as they are."""
    if x.ndim == 4:
        return torch.from_numpy(x).permute(0, 3, 1, 2).to(dtype)
    return torch.from_numpy(x.astype(np.int64))


def arrays(net: nn.Module) -> dict[str, np.ndarray]:
    """A copy of the weights by PyTorch's names."""
    return {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}
