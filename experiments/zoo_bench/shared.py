"""Which networks of the zoo PyTorch has too: torchvision's, and a text model of `torch.nn.LSTM`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

Name = Literal[
    "alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", "googlenet",
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "densenet121", "densenet169", "densenet201",
    "squeezenet", "char_lstm",
]  # fmt: skip
"""As the zoo calls them."""


class Peer(NamedTuple):
    """How torchvision calls a network and builds it; `published` are our arguments for what its table counts.

    One whose training `step` is compared has normalisation, heads or recurrence, which differ from evaluation.
    """

    torchvision: str | None
    options: Mapping[str, Any] = MappingProxyType({})
    published: Mapping[str, Any] = MappingProxyType({})
    step: bool = False


HEADS = {"aux_logits": True, "transform_input": False, "init_weights": False}

PEERS: dict[str, Peer] = {
    **{name: Peer(name) for name in ("alexnet", "vgg11", "vgg13", "vgg16", "vgg19")},
    **{name: Peer(name) for name in ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")},
    "googlenet": Peer("googlenet", HEADS, {"auxiliary": False}, step=True),
    "resnet18": Peer("resnet18", step=True),
    **{name: Peer(name) for name in ("resnet34", "resnet50", "resnet101", "resnet152")},
    "densenet121": Peer("densenet121", step=True),
    "densenet169": Peer("densenet169"),
    "densenet201": Peer("densenet201"),
    "squeezenet": Peer("squeezenet1_0"),
    "char_lstm": Peer(None, step=True),
}
"""By our name."""
