"""What PyTorch calls our layers: torchvision's names for its architectures, our own for recurrent networks.

A text model in PyTorch that is to be read has a ``torch.nn.LSTM`` or ``torch.nn.RNN`` called `recurrent`, a
``torch.nn.Linear`` called `scores`, and, where tokens are embedded, a ``torch.nn.Embedding`` called `embedding`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax231.core.checks import require

Layers = Mapping[str, Mapping[str, tuple[int, ...]]]
"""The shapes of arrays by layer, "layer1/00/conv1", and name, "kernel"."""


class Place(NamedTuple):
    """Where a layer stands: "layer1.0.conv1.{}", with the array's name for the braces.

    `channels` are those of the images that are flattened before an affine map.
    """

    name: str
    channels: int | None = None


Naming = Callable[[Layers], dict[str, str]]
"""Torchvision's names of the layers of ours."""


def _by_patterns(*rules: tuple[str, str]) -> Naming:
    """By patterns of our names, with "." and plain numbers, and what stands for them; others have equal names."""

    def renamed(name: str) -> str:
        for pattern, replacement in rules:
            if match := re.fullmatch(pattern, name):
                return match.expand(replacement)
        return name

    return lambda layers: {layer: renamed(_dotted(layer)) for layer in layers}


def _vgg(layers: Layers) -> dict[str, str]:
    """All layers in one list, those without weights too: convolution, normalisation, relu; pooling after a stage."""
    names, place, stage_before = {}, 0, "00"
    for layer in sorted(layer for layer in layers if layer.startswith("stages/")):
        _, stage, _, _, kind = layer.split("/")
        if kind == "conv" and names:
            place += 2 if stage == stage_before else 3
        place += kind == "norm"
        names[layer], stage_before = f"features.{place}", stage
    classifier = {"classifier/hidden/00/affine": 0, "classifier/hidden/01/affine": 3, "classifier/scores": 6}
    return names | {layer: f"classifier.{place}" for layer, place in classifier.items()}


_resnet = _by_patterns((r"(.*\.downsample)\.conv", r"\1.0"), (r"(.*\.downsample)\.bn", r"\1.1"))
_densenet = _by_patterns((r"(?!classifier)(.*)", r"features.\1"))

NAMINGS: Mapping[str, Naming] = {
    "alexnet": _by_patterns(
        *((f"conv{number}", f"features.{place}") for number, place in enumerate((0, 3, 6, 8, 10), 1)),
        *((f"fc{number}", f"classifier.{place}") for number, place in ((6, 1), (7, 4), (8, 6))),
    ),
    "vgg": _vgg,
    "resnet": _resnet,
    "resnet_cifar": _resnet,
    "googlenet": _by_patterns(),
    "densenet": _densenet,
    "densenet_cifar": _densenet,
    "squeezenet": _by_patterns(
        ("conv1", "features.0"),
        *(
            (rf"fire{number}\.(.*)", rf"features.{place}.\1")
            for number, place in enumerate((3, 4, 5, 7, 8, 9, 10, 12), 2)
        ),
        ("conv10", "classifier.1"),
    ),
    "char_rnn": _by_patterns((r"recurrent\.layers\.(\d+)", r"recurrent.{}_l\1")),
}
"""By architecture."""

FLATTENED: Mapping[str, Mapping[str, str]] = {
    "alexnet": {"fc6": "conv5"},
    "vgg": {"classifier/hidden/00/affine": "stages/"},
    "googlenet": {"aux1/fc1": "aux1/conv", "aux2/fc1": "aux2/conv"},
}
"""By architecture: affine maps that read flattened images, and where the last convolution before them stands."""

OLDER: Mapping[str, tuple[str, str]] = {
    "densenet": (r"(.*\.denselayer\d+\.(?:norm|conv))\.([12]\..*)", r"\1\2"),
}
"""Names in files that torchvision published, which it has changed since."""


def places(architecture: str, layers: Layers) -> dict[str, Place]:
    """Where each layer stands in torchvision's model.

    Raises:  ValueError for an architecture whose names are not known.
    """
    known = architecture in NAMINGS
    require(known, "torch_names", f"one of {', '.join(NAMINGS)}", architecture=architecture)
    flattened = FLATTENED.get(architecture, {})
    return {
        layer: Place(name if "{}" in name else f"{name}.{{}}", _channels(layers, flattened.get(layer)))
        for layer, name in NAMINGS[architecture](layers).items()
    }


def current(architecture: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    """`weights` under torchvision's names of today."""
    pattern, replacement = OLDER.get(architecture, ("", ""))
    return {re.sub(f"^{pattern}$", replacement, name) if pattern else name: array for name, array in weights.items()}


def _channels(layers: Layers, place: str | None) -> int | None:
    """How many the last convolution at `place` puts out."""
    if place is None:
        return None
    convolutions = [name for name, arrays in layers.items() if len(arrays.get("kernel", ())) == 4]
    return layers[max(name for name in convolutions if name.startswith(place))]["kernel"][-1]


def _dotted(layer: str) -> str:
    """Our name of a layer as PyTorch would write it."""
    return ".".join(str(int(part)) if part.isdigit() else part for part in layer.split("/"))
