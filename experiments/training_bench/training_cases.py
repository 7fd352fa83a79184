"""What is trained, and how: read by both sides, so it imports nothing but the standard library."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

Name = Literal["lenet", "resnet20", "char_lstm"]
"""As the zoo calls them."""

AGREE = 4
"""Steps whose losses are compared before anything is timed."""


class Case(NamedTuple):
    """The choices of a training run, and how many steps are timed as one chunk, about two seconds' worth."""

    name: Name
    title: str
    unit: str
    chunk: int
    choices: Mapping[str, Any]

    @property
    def examples(self) -> int:
        """Images or characters a step."""
        return self.choices["batch"] * self.choices.get("length", 1)


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("lenet", "LeNet on MNIST, Nesterov, 128 images", "images", 300, {
            "model": "lenet", "data": "mnist", "optimizer": "nesterov", "rate": 0.02, "schedule": "cosine",
            "epochs": 10, "batch": 128,
        }),
        Case("resnet20", "ResNet-20 on CIFAR-10, flip and crop, Nesterov, decay, 128 images", "images", 8,
             {
            "model": "resnet20", "data": "cifar10", "optimizer": "nesterov", "rate": 0.1, "schedule": "cosine",
            "epochs": 60, "batch": 128, "decay": 5e-4, "augment": ("flip", "pad_crop"),
        }),
        Case("char_lstm", "LSTM of 2 layers of 256 on Shakespeare, Adam, clipping, dropout, 50 x 100 characters",
             "characters", 10, {
            "model": "char_lstm", "data": "tiny_shakespeare", "optimizer": "adam", "rate": 0.004,
            "schedule": "one_cycle", "epochs": 12, "batch": 50, "length": 100, "clip": 5.0, "dropout": 0.2,
            "arguments": {"hidden": 256},
        }),
    )
}  # fmt: skip
assert tuple(CASES) == get_args(Name)
