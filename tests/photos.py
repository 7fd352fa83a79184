"""Folders of small images, a class told by its brightest row, as PNG and JPEG files."""

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 6
CLASSES = ("a", "b", "c")


def write(folder: Path, count: int, seed: int = 0, suffix: str = ".png", side: int = SIDE) -> None:
    """So many images, the classes in turn."""
    random = np.random.default_rng(seed)
    for i in range(count):
        label = i % len(CLASSES)
        pixels = random.integers(0, 128, (side, side, 3))
        pixels[label * side // len(CLASSES)] += 120
        path = folder / CLASSES[label] / f"{i:03}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def damage(path: Path) -> Path:
    """Cut a file in the middle."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path
