"""Nuclei under the microscope, with the class of every pixel: one .npz file of images, masks and the split.

The file is made from the images of the first stage of the 2018 Data Science Bowl, as corrected by Lopuhin: in the order
of their identifiers, without alpha, the middle 256x256 pixels; the masks of single nuclei merged into background 0,
nucleus 1 and border 2 (pixels of a nucleus with another label among their 3x3 neighbours); then halved: of an image the
mean of 2x2 pixels, of a mask a nucleus where two of four pixels are, a border where one is. `validation` marks every
fifth image.
"""

import io
import zipfile
from pathlib import Path

import numpy as np

from jax231.data.dataset import Examples
from jax231.data.errors import DataError, demand

CLASSES = ("background", "nucleus", "border")
ARRAYS = {"images": np.uint8, "masks": np.uint8, "validation": np.bool_}


def masked(path: Path, content: bytes, count: int, shape: tuple[int, int, int]) -> tuple[Examples, Examples]:
    """The images that are not marked for validation, and those that are, each with its masks as labels (n, h, w).

    Raises:    DataError for something else than such a file, other numbers or types, and classes out of range.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            found = {name: file[name] for name in ARRAYS}
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(path, f"a .npz file of {', '.join(ARRAYS)}", str(error) or type(error).__name__) from error
    shapes = {"images": (count, *shape), "masks": (count, *shape[:2]), "validation": (count,)}
    for name, x in found.items():
        expected = f"{name} {shapes[name]} of {np.dtype(ARRAYS[name])}"
        demand(x.shape == shapes[name] and x.dtype == ARRAYS[name], path, expected, f"{x.shape} of {x.dtype}")
    images, masks, held = found.values()
    demand(int(masks.max()) < len(CLASSES), path, f"classes within [0, {len(CLASSES)})", masks.max())
    everything = Examples(images, masks.astype(np.int32))
    return everything.take(np.flatnonzero(~held)), everything.take(np.flatnonzero(held))
