"""How a width and a depth are said to each architecture that has them."""

from collections.abc import Callable, Mapping
from typing import Any

from jax231.models import zoo
from jax231.train.config import Value

SIZES: Mapping[str, Callable[[int, int], dict[str, Any]]] = {
    "two_layer": lambda width, depth: {"hidden": width},
    "mlp": lambda width, depth: {"widths": [width] * depth},
    "convnet": lambda width, depth: {"channels": [width * 2**stage for stage in range(depth)]},
    "pattern": lambda width, depth: {"channels": width, "m": depth},
    "all_conv": lambda width, depth: {"channels": [width, 2 * width]},
    "resnet_cifar": lambda width, depth: {"width": width, "depth": depth},
    "densenet_cifar": lambda width, depth: {"growth": width, "depth": depth},
}
"""Arguments that make an architecture so wide and deep."""

USUAL_SIZE = {"two_layer": (32, 1), "mlp": (100, 2), "convnet": (8, 2), "pattern": (32, 2), "all_conv": (96, 1),
              "resnet_cifar": (16, 20), "densenet_cifar": (12, 100)}  # fmt: skip
NO_DEPTH = ("two_layer", "all_conv")


def arguments(model: str, sizes: Mapping[str, int]) -> dict[str, Value]:
    """The arguments of a model of a width and depth, the usual one where one is not given; none if none is."""
    if not sizes:
        return {}
    architecture = zoo.entry(model).architecture
    width, depth = USUAL_SIZE[architecture]
    return SIZES[architecture](sizes.get("width", width), sizes.get("depth", depth))
