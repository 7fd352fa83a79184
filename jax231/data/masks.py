"""Masks as pictures: indexed PNG files whose indices are the classes, in colours that tell them apart."""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from jax231.core.checks import require

MOST = 256
"""Classes of which an indexed picture can tell."""


def palette() -> UInt8[np.ndarray, "classes 3"]:
    """A colour for each class, those of the PASCAL VOC masks: black is class 0, then dark red, dark green and so on.

    Bit b of the class decides about one bit of red, green or blue, in turn, the highest first.
    """
    classes = np.arange(MOST)
    colors = np.zeros((MOST, 3), np.uint8)
    for bit in range(8):
        channel, place = bit % 3, 7 - bit // 3
        colors[:, channel] |= ((classes >> bit & 1) << place).astype(np.uint8)
    return colors


def write(path: Path, mask: Integer[np.ndarray, "h w"]) -> None:
    """Write a mask as an indexed PNG: programs that show it show colours, programs that read it get the classes.

    Raises: ValueError for classes outside [0, 256); ModuleNotFoundError without Pillow; OSError for what cannot be
            written.
    """
    fits = bool((mask >= 0).all() and (mask < MOST).all())
    require(fits, "masks.write", f"classes within [0, {MOST})", mask=(int(mask.min()), int(mask.max())))
    from PIL import Image

    picture = Image.frombytes("P", mask.shape[::-1], mask.astype(np.uint8).tobytes())
    picture.putpalette(palette().ravel().tolist())
    picture.save(path, format="PNG")
