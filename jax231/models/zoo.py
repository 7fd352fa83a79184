"""The table of models: what each is, and the facts that come with it.

The table imports no JAX; `Entry.build` imports the architecture.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jax231.core.types

from jax231.core.lookup import by_name


class Entry(NamedTuple):
    """One model: its architecture, its loss, and what the loss is before the first step."""

    name: str
    title: str
    architecture: str
    loss: str
    start: str
    source: str
    arguments: Mapping[str, Any] = {}

    def build(self, shape: tuple[int, ...], classes: int) -> "jax231.core.types.Model":
        """The model's two functions for images (h, w, c) and so many classes."""
        module = importlib.import_module(f"jax231.models.{self.architecture}")
        return getattr(module, self.architecture)(shape, classes, **self.arguments)

    @property
    def loss_function(self) -> Callable[..., Any]:
        """``loss(scores, labels) -> (n,)``."""
        return getattr(importlib.import_module("jax231.functional.losses"), self.loss)

    def expected_start(self, classes: int) -> float:
        """The loss of scores that are all alike: log k for softmax, k - 1 for the hinges."""
        return math.log(classes) if self.start == "log k" else float(classes - 1)


ENTRIES = (
    Entry("softmax", "Softmax regression", "linear", "softmax_cross_entropy", "log k", "CS231n lecture 3"),
    Entry("svm", "Linear SVM, squared hinge", "linear", "squared_hinge", "k - 1", "CS231n lecture 3"),
    Entry("two_layer", "Two-layer net, ReLU", "two_layer", "softmax_cross_entropy", "log k", "CS231n lecture 4"),
    Entry("two_layer_tanh", "Two-layer net, tanh", "two_layer", "softmax_cross_entropy", "log k", "CS231n lecture 4",
          {"activation": "tanh"}),
    Entry("convnet", "Small ConvNet", "convnet", "softmax_cross_entropy", "log k", "CS231n lecture 5"),
)  # fmt: skip

NAMES = tuple(entry.name for entry in ENTRIES)


def entry(name: str) -> Entry:
    """The entry called `name`.

    Raises: ValueError with the nearest names where there is none.
    """
    return by_name(ENTRIES, name, "models", "zoo")
