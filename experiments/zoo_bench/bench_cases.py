"""Which networks are timed, and on how many images."""

from typing import Literal, NamedTuple, get_args

Name = Literal[
    "alexnet", "vgg11", "googlenet", "resnet18", "densenet121", "resnet20", "resnet56", "preact_resnet20",
    "densenet_bc_100_12",
]  # fmt: skip
"""As the zoo calls them."""

Form = Literal["forward", "step"]
"""Scores in evaluation mode, or a training step of SGD with momentum."""

FORMS: tuple[Form, ...] = get_args(Form)

RATE, MOMENTUM = 1e-3, 0.9
"""Of a training step: small, so that many steps on one batch stay finite."""


class Case(NamedTuple):
    """A network of the zoo, images in a batch, their shape, and classes."""

    name: str
    n: int
    shape: tuple[int, int, int]
    classes: int


CASES: dict[str, Case] = {
    name: Case(name, 8, (224, 224, 3), 1000) if place < 5 else Case(name, 32, (32, 32, 3), 10)
    for place, name in enumerate(get_args(Name))
}
"""Of torchvision's on ImageNet's shape, then those for small images."""
