"""The networks that are trained, in plain PyTorch; their parameters are called as ours are."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from zoo_bench.cifar_nets import ResNet

Carry = tuple[Tensor, Tensor] | None
"""Hidden states and cells of all layers, or zeros."""


class LeNet(nn.Module):
    """LeNet-5 of 28x28, tanh and mean pooling; maps are flattened in the order in which they lie, channels last."""

    def __init__(self, classes: int):
        super().__init__()
        self.c1, self.c3 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.c5, self.f6, self.output = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        x = functional.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = functional.avg_pool2d(torch.tanh(self.c3(x)), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        return self.output(torch.tanh(self.f6(torch.tanh(self.c5(x)))))


class CharLSTM(nn.Module):
    """One-hot characters, two LSTM layers, scores at every step; time is the first axis, as `nn.LSTM` likes it.

    PyTorch adds a second bias to each layer; it stays zero.
    """

    def __init__(self, vocabulary: int, hidden: int, layers: int = 2):
        super().__init__()
        self.recurrent = nn.LSTM(vocabulary, hidden, layers)
        self.scores = nn.Linear(hidden, vocabulary)
        self.register_buffer("eye", torch.eye(vocabulary), persistent=False)
        for name, parameter in self.recurrent.named_parameters():
            if name.startswith("bias_hh"):
                nn.init.zeros_(parameter).requires_grad_(False)

    def forward(self, tokens: Tensor, carry: Carry, dropout: float) -> tuple[Tensor, Carry]:
        """Of tokens (t, n) the scores (t, n, v), and the last carry; outputs of each layer are thinned."""
        self.recurrent.dropout = dropout
        h, carry = self.recurrent(self.eye[tokens], carry)
        return self.scores(functional.dropout(h, dropout) if dropout else h), carry


def build(name: str, data: dict[str, Any]) -> nn.Module:
    """The network for these data."""
    if name == "lenet":
        return LeNet(data["classes"])
    return ResNet(20, classes=data["classes"]) if name == "resnet20" else CharLSTM(data["classes"], data["hidden"])
