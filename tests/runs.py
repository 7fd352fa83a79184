"""Small made-up data and runs for the tests of training."""

from pathlib import Path
from typing import Any

import numpy as np

from jax231.core.types import Batch
from jax231.data import preprocess
from jax231.train.config import Config
from jax231.train.splits import Splits

TEXT = "to be or not to be that is the question whether it is nobler in the mind to suffer " * 4


def images(train: int = 40, other: int = 10, classes: int = 3) -> Splits:
    """Images of 4x4 whose brightest row tells the class."""
    random = np.random.default_rng(0)

    def part(n: int) -> Batch:
        labels = np.arange(n, dtype=np.int32) % classes
        pixels = random.integers(0, 128, (n, 4, 4, 1))
        pixels[np.arange(n), labels] += 120
        return Batch(pixels.astype(np.uint8), labels)

    whole = part(train)
    stats = preprocess.fit("per_channel", whole.inputs)
    names = tuple("abcdefgh"[:classes])
    return Splits("made", whole, part(other), part(other), (4, 4, 1), names, stats, {})


def text(length: int = 6) -> Splits:
    """A text by its codes."""
    vocabulary = sorted(set(TEXT))
    codes = np.array([vocabulary.index(character) for character in TEXT], np.int32)
    train, rest = codes[:240], codes[240:]
    return Splits("made", Batch(train, None), Batch(rest, None), None, (length,), tuple(vocabulary), None, {})


def config(**choices: Any) -> Config:
    """A run of a second or less on `images`, or with a `length` of 6 on `text`."""
    return Config(**{"model": "two_layer", "data": "made", "batch": 8, "epochs": 3, "rate": 0.1, **choices})


def damage(checkpoint: Path) -> None:
    """Turn a byte of the largest file of a checkpoint around."""
    turn(max((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size))


def turn(path: Path) -> None:
    """Turn the byte in the middle of a file around."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
