"""Folders of images, one folder a class: `cats/001.png`, or `train/cats/001.png` and `test/cats/001.png`."""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np

from jax231.core.checks import require
from jax231.data.dataset import Dataset, Examples, Source
from jax231.data.errors import DataError, MissingDataError, demand
from jax231.data.splits import hold_out

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
EIGHT_BIT = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}
TEST_SHARE, SPLIT_SEED = 0.2, 0


def image_folder(
    folder: str | Path, size: tuple[int, int] | None = None, channels: Literal[1, 3] = 3, validation: float = 0.1
) -> Dataset:
    """Read a folder with one subfolder of images a class; names of classes in alphabetical order are labels 0, 1, ...

    With subfolders `train` and `test` these are the split; else a fifth of every class, chosen by seed 0, is the test
    split. All images need the same size, unless `size` (h, w) says to what they are resized (bilinear). Colour is
    converted to 1 channel (grey) or 3 (RGB), transparency dropped. `validation` is the share of the training split
    that `split()` holds out. The digest covers the names and contents of all files.

    Raises:    MissingDataError for no folder, class or image; DataError for an image that cannot be read, has more
               than 8 bits a channel or another size, and for a test class that training does not know.
    """
    require(channels in (1, 3), "image_folder", "1 or 3 channels", channels=channels)
    require(0 <= validation < 1, "image_folder", "a validation share within [0, 1)", validation=validation)
    root = Path(folder).expanduser()
    is_split = (root / "train").is_dir() and (root / "test").is_dir()
    first = root / "train" if is_split else root
    classes = _classes(first)
    digest = hashlib.sha256()
    train = _read(first, root, classes, size, channels, digest)
    if is_split:
        unknown = set(_classes(root / "test")) - set(classes)
        demand(not unknown, root / "test", f"classes of {first}", sorted(unknown))
        test = _read(root / "test", root, classes, train.images.shape[1:3], channels, digest)
    else:
        rest, held = hold_out(train.labels, round(TEST_SHARE * len(train.labels)), SPLIT_SEED)
        train, test = train.take(rest), train.take(held)
    held_out = round(validation * len(train.labels))
    source = Source(f"images in {root}", "that of the files", "")
    return Dataset(root.name, train, test, tuple(classes), source, {root.name: digest.hexdigest()}, held_out)


def _classes(folder: Path) -> list[str]:
    found = [path.name for path in folder.iterdir() if _is_visible_folder(path)] if folder.is_dir() else []
    if not found:
        state = "none" if folder.is_dir() else "no such folder"
        raise MissingDataError(f"image folder {folder}: expected one subfolder of images a class; found {state}")
    return sorted(found)


def _is_visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _read(folder: Path, root: Path, classes: list[str], size, channels: int, digest) -> Examples:
    images, labels = [], []
    for label, name in enumerate(classes):
        paths = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            suffixes = " ".join(sorted(SUFFIXES))
            raise MissingDataError(f"image folder {folder / name}: expected images ({suffixes}); found none")
        for path in paths:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            image = _image(path, size, channels, digest)
            expected = images[0].shape if images else image.shape
            demand(image.shape == expected, path, f"an image {expected[:2]} as the others, or a size", image.shape[:2])
            images.append(image)
            labels.append(label)
    return Examples(np.stack(images), np.array(labels, np.int32))


def _image(path: Path, size, channels: int, digest) -> np.ndarray:
    from PIL import Image

    content = path.read_bytes()
    digest.update(content)
    try:
        with Image.open(path) as image:
            image.load()
            mode = image.mode
            pixels = image.convert("L" if channels == 1 else "RGB")
    except Exception as error:  # a damaged file makes a decoder raise almost anything
        raise DataError(path, "an image", f"{len(content)} bytes ({error or type(error).__name__})") from error
    demand(mode in EIGHT_BIT, path, "8 bits a channel", f"mode {mode}")
    if size is not None:
        pixels = pixels.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(pixels, np.uint8).reshape(pixels.height, pixels.width, channels)
