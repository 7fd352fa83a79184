"""Test-time averaging: an image seen in several ways, over which the probabilities of its classes are averaged.

Views are pure functions of images (n, h, w, c) with values from 0 to 255, inside the compiled program and before
preprocessing. They keep the type; a result of whole numbers is rounded.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num

from jax231.core.checks import require
from jax231.core.lookup import hint

Images = Num[Array, "n h w c"]
Seen = Num[Array, "n _ _ c"]
"""The images at another size."""

Views = Callable[[Images], tuple[Seen, ...]]
"""``views(images)``: the images, seen in several ways."""

Canvas = Literal["padded", "enlarged"]

NAMES = ("flip", "five_crop", "ten_crop", "multi_scale")
SCALES = (1.0, 1.125, 1.25)
"""How many times as large an image is seen where nothing else is asked for."""


def flip(images: Images) -> tuple[Images, Images]:
    """The images, and their mirror images."""
    return images, images[:, :, ::-1]


def five_crop(images: Images, size: tuple[int, int]) -> tuple[Seen, ...]:
    """The four corners and the centre, of `size`: top left, top right, bottom left, bottom right, centre.

    Raises: ValueError for a size that is larger than the images, or empty.
    """
    height, width = images.shape[1:3]
    (h, w), fits = size, 0 < size[0] <= height and 0 < size[1] <= width
    require(fits, "crop", f"a size within the images' {height}x{width}", size=size)
    bottom, right = height - h, width - w
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    return tuple(images[:, top : top + h, left : left + w] for top, left in corners)


def ten_crop(images: Images, size: tuple[int, int]) -> tuple[Seen, ...]:
    """`five_crop`, and the mirror images of the five.

    Raises: as `five_crop`.
    Source: Krizhevsky et al. 2012, section 4.1: 224x224 of 256x256.
    """
    five = five_crop(images, size)
    return (*five, *(crop[:, :, ::-1] for crop in five))


def padded(images: Images, margin: int) -> Seen:
    """The images with `margin` zeros on each side, as `augment.pad_crop` crops from.

    Raises: ValueError for a margin that is negative or not below the sides of the image: a corner would be empty.
    """
    h, w = images.shape[1:3]
    require(0 <= margin < min(h, w), "padded", f"a margin within [0, {min(h, w)})", margin=margin)
    return jnp.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))


def resized(images: Images, size: tuple[int, int]) -> Seen:
    """The images at another size, linear between pixels; smaller ones without aliasing.

    Raises: ValueError for an empty size.
    """
    require(min(size) >= 1, "resized", "a size of at least 1x1", size=size)
    n, _, _, c = images.shape
    x = jax.image.resize(images.astype(jnp.float32), (n, *size, c), "linear")
    whole = jnp.issubdtype(images.dtype, jnp.integer)
    return (jnp.clip(jnp.round(x), 0, 255) if whole else x).astype(images.dtype)


def scaled(images: Images, scales: Sequence[float]) -> tuple[Seen, ...]:
    """The images so many times as large, for a network that takes any size.

    Raises: ValueError for no scale, and for one that is not above 0 or leaves nothing.
    Source: Simonyan & Zisserman 2015 (arXiv:1409.1556), section 4.2; He et al. 2015 (arXiv:1512.03385), section 3.4.
    """
    require(len(scales) > 0 and min(scales) > 0, "scaled", "at least one scale, all above 0", scales=tuple(scales))
    h, w = images.shape[1:3]
    return tuple(resized(images, (round(h * scale), round(w * scale))) for scale in scales)


def centred(images: Images, size: tuple[int, int]) -> Seen:
    """The middle of the images, of `size`: what is too large is cut off, what lacks is filled with zeros."""
    (height, width), (h, w) = images.shape[1:3], size
    top, left = max(0, height - h) // 2, max(0, width - w) // 2
    middle = images[:, top : top + h, left : left + w]
    above, before = (max(0, h - height), max(0, w - width))
    sides = tuple((lack // 2, lack - lack // 2) for lack in (above, before))
    return jnp.pad(middle, ((0, 0), *sides, (0, 0)))


def named(
    name: str,
    *,
    margin: int | None = None,
    canvas: Canvas = "padded",
    scales: Sequence[float] = SCALES,
    dense: bool = False,
) -> Views:
    """The views of this name, of images which have the size that a network reads.

    "flip" is the image and its mirror image. "five_crop" and "ten_crop" cut crops of the image's own size from it with
    `margin` pixels more on each side (None: an eighth of the height), which are zeros or come by enlarging it.
    "multi_scale" is the image at each of `scales`: the middle at its own size, or with `dense` the whole, for networks
    that pool over whatever area there is.

    Raises: ValueError for a name that is not in `NAMES`, with the nearest, and while tracing as the functions here do.
    """
    require(name in NAMES, "views", f"names of views ({hint(name, NAMES)})", name=name)
    require(canvas in ("padded", "enlarged"), "views", "a canvas padded or enlarged", canvas=canvas)

    def crops(images: Images) -> tuple[Seen, ...]:
        h, w = images.shape[1:3]
        more = h // 8 if margin is None else margin
        require(more >= 1, "views", "a margin of at least 1", margin=more)
        larger = padded(images, more) if canvas == "padded" else resized(images, (h + 2 * more, w + 2 * more))
        return (five_crop if name == "five_crop" else ten_crop)(larger, (h, w))

    def sizes(images: Images) -> tuple[Seen, ...]:
        found, (_, h, w, _) = scaled(images, scales), images.shape
        return found if dense else tuple(centred(x, (h, w)) for x in found)

    return {"flip": flip, "five_crop": crops, "ten_crop": crops, "multi_scale": sizes}[name]
