"""Folders of images, one folder a class: `cats/001.png`, or `train/cats/001.png` beside `val/` or `test/`."""

import hashlib
import os
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from jax231.core.checks import require
from jax231.data.dataset import Dataset, Examples, Source
from jax231.data.decode import Form, Size, read_image
from jax231.data.errors import MissingDataError, demand
from jax231.data.splits import hold_out

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
TEST_SHARE, SPLIT_SEED = 0.2, 0

Positions = Int[np.ndarray, "positions"]


class Listing(NamedTuple):
    """The image files of a folder, none of them opened: names within it, bytes and labels of each.

    `train`, `validation` and `test` are positions in `names`, the last two None where the folder does not have them.
    """

    root: Path
    names: list[str]
    sizes: Int[np.ndarray, "files"]
    labels: Int32[np.ndarray, "files"]
    classes: tuple[str, ...]
    train: Positions
    validation: Positions | None
    test: Positions | None

    def path(self, position: int) -> Path:
        """The file at `position`."""
        return self.root / self.names[position]

    def digest(self) -> str:
        """A SHA-256 of names and sizes: cheap, and another one where files came, went or grew."""
        digest = hashlib.sha256()
        for name, size in zip(self.names, self.sizes.tolist(), strict=True):
            digest.update(f"{name}\0{size}\n".encode())
        return digest.hexdigest()

    def content_digest(self) -> str:
        """A SHA-256 of names and contents of all files."""
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(name.encode() + b"\0" + (self.root / name).read_bytes())
        return digest.hexdigest()


def list_folder(folder: str | Path) -> Listing:
    """List a folder with one subfolder of images a class; names of classes in alphabetical order are labels 0, 1, ...

    A subfolder `train` beside `val`, `test` or both holds the training split, and these are the others. Else a fifth of
    every class, chosen by seed 0, is the test split.

    Raises: MissingDataError for no folder, class or image; DataError for a class of another split that training does
            not know.
    """
    root = Path(folder).expanduser()
    others = [name for name in ("val", "test") if (root / name).is_dir()] if (root / "train").is_dir() else []
    classes = _classes(root / "train" if others else root)
    found = [(name, size, label) for label, kind in enumerate(classes)
             for name, size in _images_of(root, f"train/{kind}" if others else kind)]  # fmt: skip
    ends = {"train": (0, len(found))}
    for split in others:
        found += [(name, size, classes.index(kind)) for kind in _known(root / split, classes)
                  for name, size in _images_of(root, f"{split}/{kind}")]  # fmt: skip
        ends[split] = (max(end for _, end in ends.values()), len(found))
    names, sizes, labels = (list(column) for column in zip(*found, strict=True))
    parts = {split: np.arange(*end) for split, end in ends.items()}
    labels = np.array(labels, np.int32)
    if not others:
        parts["train"], parts["test"] = hold_out(labels, round(TEST_SHARE * len(labels)), SPLIT_SEED)
    return Listing(
        root, names, np.array(sizes, np.int64), labels, tuple(classes), parts["train"], parts.get("val"),
        parts.get("test"),
    )  # fmt: skip


def image_folder(
    folder: str | Path, size: Size | None = None, channels: Literal[1, 3] = 3, validation: float = 0.1
) -> Dataset:
    """Read a folder as `list_folder` lists it; without a subfolder `test` the one called `val` is the test split.

    All images need the same size, unless `size` (h, w) says to what they are resized (bilinear). Colour is converted to
    1 channel (grey) or 3 (RGB), transparency dropped. `validation` is the share of the training split that `split()`
    holds out. The digest covers the names and contents of all files.

    Raises:    MissingDataError for no folder, class or image; DataError for an image that cannot be read, has more
               than 8 bits a channel or another size, and for a test class that training does not know.
    """
    require(channels in (1, 3), "image_folder", "1 or 3 channels", channels=channels)
    require(0 <= validation < 1, "image_folder", "a validation share within [0, 1)", validation=validation)
    listing = list_folder(folder)
    chosen = listing.validation if listing.test is None else listing.test
    assert chosen is not None, "a folder has a test split"
    images: dict[int, np.ndarray] = {}
    for position in sorted([*listing.train.tolist(), *chosen.tolist()]):
        path = listing.path(position)
        image = read_image(path, Form(size, channels))
        expected = next(iter(images.values()), image).shape
        demand(image.shape == expected, path, f"an image {expected[:2]} as the first, or a size", image.shape[:2])
        images[position] = image

    def part(positions: Positions) -> Examples:
        return Examples(np.stack([images[position] for position in positions.tolist()]), listing.labels[positions])

    name = listing.root.name
    source = Source(f"images in {listing.root}", "that of the files", "")
    held_out = round(validation * len(listing.train))
    digests = {name: listing.content_digest()}
    return Dataset(name, part(listing.train), part(chosen), listing.classes, source, digests, held_out)


def _classes(folder: Path) -> list[str]:
    found = [path.name for path in folder.iterdir() if _is_visible_folder(path)] if folder.is_dir() else []
    if not found:
        state = "none" if folder.is_dir() else "no such folder"
        raise MissingDataError(f"image folder {folder}: expected one subfolder of images a class; found {state}")
    return sorted(found)


def _known(folder: Path, classes: list[str]) -> list[str]:
    """The classes of another split: all or some of those of the training split."""
    names = _classes(folder)
    unknown = sorted(set(names) - set(classes))
    demand(not unknown, folder, f"the classes {classes} of training", unknown)
    return names


def _is_visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _images_of(root: Path, folder: str) -> list[tuple[str, int]]:
    """Name and bytes of each image file of a class."""
    with os.scandir(root / folder) as entries:
        files = [x for x in entries if os.path.splitext(x.name)[1].lower() in SUFFIXES and x.is_file()]
        found = sorted((f"{folder}/{file.name}", file.stat().st_size) for file in files)
    if not found:
        suffixes = " ".join(sorted(SUFFIXES))
        raise MissingDataError(f"image folder {root / folder}: expected images ({suffixes}); found none")
    return found
