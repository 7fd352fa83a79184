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

Size = tuple[int, int]


def image_folder(
    folder: str | Path, size: Size | None = None, channels: Literal[1, 3] = 3, validation: float = 0.1
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
    files = [(path, label) for label, name in enumerate(classes) for path in _images_of(first / name)]
    trained = len(files)
    if is_split:
        files += [(path, label) for label, tested in _tested(root / "test", classes) for path in _images_of(tested)]
    everything = _read(files, size, channels)
    if is_split:
        rest, chosen = np.arange(trained), np.arange(trained, len(files))
    else:
        rest, chosen = hold_out(everything.labels, round(TEST_SHARE * len(files)), SPLIT_SEED)
    train, test = everything.take(rest), everything.take(chosen)
    held_out = round(validation * len(train.labels))
    digests = {root.name: _digest([path for path, _ in files], root)}
    source = Source(f"images in {root}", "that of the files", "")
    return Dataset(root.name, train, test, tuple(classes), source, digests, held_out)


def _classes(folder: Path) -> list[str]:
    found = [path.name for path in folder.iterdir() if _is_visible_folder(path)] if folder.is_dir() else []
    if not found:
        state = "none" if folder.is_dir() else "no such folder"
        raise MissingDataError(f"image folder {folder}: expected one subfolder of images a class; found {state}")
    return sorted(found)


def _tested(folder: Path, classes: list[str]) -> list[tuple[int, Path]]:
    """Label and folder of the classes of the test split: all or some of those of the training split."""
    names = _classes(folder)
    unknown = sorted(set(names) - set(classes))
    demand(not unknown, folder, f"the classes {classes} of training", unknown)
    return [(classes.index(name), folder / name) for name in names]


def _is_visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _images_of(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        suffixes = " ".join(sorted(SUFFIXES))
        raise MissingDataError(f"image folder {folder}: expected images ({suffixes}); found none")
    return paths


def _read(files: list[tuple[Path, int]], size: Size | None, channels: int) -> Examples:
    images: list[np.ndarray] = []
    for path, _ in files:
        image = read_image(path, size, channels)
        expected = images[0].shape if images else image.shape
        demand(image.shape == expected, path, f"an image {expected[:2]} as the first, or a size", image.shape[:2])
        images.append(image)
    return Examples(np.stack(images), np.array([label for _, label in files], np.int32))


def _digest(paths: list[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def read_image(path: Path, size: Size | None, channels: int) -> np.ndarray:
    """The pixels of an image file as uint8 (h, w, channels), grey or red, green and blue, resized where asked.

    Raises: DataError for a file that is not an image of 8 bits a channel; ModuleNotFoundError without Pillow.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "image_folder: expected Pillow to be installed: pip install 'jax231[data]'"
        ) from error
    try:
        with Image.open(path) as image:
            image.load()
            mode = image.mode
            pixels = image.convert("L" if channels == 1 else "RGB")
    except Exception as error:  # a damaged file makes a decoder raise almost anything
        raise DataError(path, "an image", f"{path.stat().st_size} bytes ({error or type(error).__name__})") from error
    demand(mode in EIGHT_BIT, path, "8 bits a channel", f"mode {mode}")
    if size is not None:
        pixels = pixels.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(pixels, np.uint8).reshape(pixels.height, pixels.width, channels)
