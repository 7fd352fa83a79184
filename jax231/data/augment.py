"""Augmentation: images of a batch changed at random, as pure functions of a key.

All take ``(key, images (n, h, w, c))`` with values from 0 to 255, draw for every image on its own, and keep shape and
type; a result of whole numbers is rounded. They run inside the compiled epoch, before preprocessing.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from jax231.core.checks import require
from jax231.core.lookup import hint
from jax231.core.types import Key

Images = Num[Array, "n h w c"]
Augmentation = Callable[[Key, Images], Images]
Labelled = Callable[[Key, Images, Int[Array, "n ..."]], tuple[Images, Int[Array, "n ..."]]]

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Shares of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""

YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)
"""From red, green and blue to brightness and the two axes in which a hue is an angle."""

VARIANCES = np.array([0.2175, 0.0188, 0.0045], np.float32) * 255
DIRECTIONS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32)
"""Principal components of the colours of ImageNet, a column each, and how far pixels spread along them."""


def flip(key: Key, images: Images) -> Images:
    """Every image, or with probability one half its mirror image."""
    turned = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(turned, images[:, :, ::-1], images)


def pad_crop(key: Key, images: Images, pad: int | None = None) -> Images:
    """A part of the original size from the image with `pad` zeros on each side (None: an eighth of the height).

    Raises: ValueError for a negative `pad`.
    Source: He et al. 2015 (arXiv:1512.03385), section 4.2: 4 pixels on each side of 32x32.
    """
    n, h, w, c = images.shape
    pad = h // 8 if pad is None else pad
    require(pad >= 0, "pad_crop", "a pad of at least 0", pad=pad)
    wide = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    corners = jax.random.randint(key, (n, 2), 0, 2 * pad + 1)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), (h, w, c)))(wide, corners)


def resized_crop(
    key: Key, images: Images, areas: tuple[float, float] = (0.25, 1.0), ratios: tuple[float, float] = (3 / 4, 4 / 3)
) -> Images:
    """A part of so large a share of the area, of such a ratio of sides, resized to the original size.

    Area uniform, ratio uniform in its logarithm; sides are cut to the image's. Between pixels it is linear.

    Raises: ValueError for areas outside (0, 1] or a range that ends before it begins.
    Source: Szegedy et al. 2015 (arXiv:1409.4842), section 6, who go down to 8 % of ImageNet's larger images.
    """
    fits = 0 < areas[0] <= areas[1] <= 1 and 0 < ratios[0] <= ratios[1]
    require(fits, "resized_crop", "areas within (0, 1] and ratios above 0, in order", areas=areas, ratios=ratios)
    n, h, w, _ = images.shape
    key_area, key_ratio, key_place = jax.random.split(key, 3)
    area = jax.random.uniform(key_area, (n, 1), minval=areas[0], maxval=areas[1])
    ratio = jnp.exp(jax.random.uniform(key_ratio, (n, 1), minval=np.log(ratios[0]), maxval=np.log(ratios[1])))
    shares = jnp.minimum(jnp.sqrt(area * jnp.concatenate([1 / ratio, ratio], 1)), 1)
    corners = jax.random.uniform(key_place, (n, 2)) * (1 - shares)
    return _zoomed(images, shares, corners * jnp.array([h, w]))


def scale_jitter(key: Key, images: Images, largest: float = 1.5) -> Images:
    """The image up to `largest` times as large, and of it a part of the original size.

    Raises: ValueError for a `largest` below 1.
    Source: Simonyan & Zisserman 2015 (arXiv:1409.1556), section 3.1, multi-scale training.
    """
    require(largest >= 1, "scale_jitter", "a largest scale of at least 1", largest=largest)
    n, h, w, _ = images.shape
    key_scale, key_place = jax.random.split(key)
    shares = 1 / jax.random.uniform(key_scale, (n, 1), minval=1.0, maxval=largest) * jnp.ones((1, 2))
    corners = jax.random.uniform(key_place, (n, 2)) * (1 - shares)
    return _zoomed(images, shares, corners * jnp.array([h, w]))


def color_jitter(
    key: Key,
    images: Images,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.05,
) -> Images:
    """Brightness, contrast and saturation times a factor within 1 +- their number, then the hue turned.

    Contrast is about the mean brightness of the image, saturation about that of each pixel; `hue` is the largest turn
    in either direction, as a share of the circle, about the axis of brightness. Images of one channel have no colour,
    so only brightness and contrast change.

    Raises: ValueError for a negative number, and for images of neither one nor three channels.
    Source: Howard 2013 (arXiv:1312.5402), section 2.2; the hue by rotation in YIQ.
    """
    channels = images.shape[-1]
    require(channels in (1, 3), "color_jitter", "one or three channels", images=images)
    least = min(brightness, contrast, saturation, hue)
    require(least >= 0, "color_jitter", "numbers of at least 0", least=least)
    factor = jax.random.uniform(key, (4, len(images), 1, 1, 1), minval=-1.0, maxval=1.0)
    x = images.astype(jnp.float32) * (1 + brightness * factor[0])
    shares = jnp.asarray(GREY) if channels == 3 else jnp.ones(1)
    mean = (x @ shares).mean((1, 2))[:, None, None, None]
    x = mean + (x - mean) * (1 + contrast * factor[1])
    if channels == 3:
        grey = (x @ shares)[..., None]
        x = grey + (x - grey) * (1 + saturation * factor[2])
        turn = 2 * jnp.pi * hue * factor[3, :, 0, 0, 0]
        x = jnp.einsum("nhwc,ndc->nhwd", x, jax.vmap(_hue_turn)(turn))
    return _as(images, x)


def lighting(key: Key, images: Images, spread: float = 0.1) -> Images:
    """Each image plus one colour, along the principal components of colours: normal, `spread` times their own.

    Raises: ValueError for images of other than three channels.
    Source: Krizhevsky et al. 2012, section 4.1; the components of ImageNet's training images.
    """
    require(images.shape[-1] == 3, "lighting", "three channels", images=images)
    drawn = spread * jax.random.normal(key, (len(images), 3)) * VARIANCES
    return _as(images, images.astype(jnp.float32) + (drawn @ DIRECTIONS.T)[:, None, None, :])


def cutout(key: Key, images: Images, side: int | None = None) -> Images:
    """A square of `side` pixels (None: half the height) about a random pixel, filled with the mean of the batch.

    Near the border part of it falls outside the image.

    Raises: ValueError for a `side` below 1.
    Source: DeVries & Taylor 2017 (arXiv:1708.04552), section 3.
    """
    n, h, w, _ = images.shape
    side = max(1, h // 2) if side is None else side
    require(side >= 1, "cutout", "a side of at least 1", side=side)
    key_row, key_column = jax.random.split(key)

    def inside(key: Key, length: int) -> Array:
        first = jax.random.randint(key, (n, 1), 0, length) - side // 2
        place = jnp.arange(length)
        return (place >= first) & (place < first + side)

    hole = inside(key_row, h)[:, :, None, None] & inside(key_column, w)[:, None, :, None]
    mean = images.astype(jnp.float32).mean((0, 1, 2))
    return jnp.where(hole, _as(images, mean), images)


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": flip,
    "pad_crop": pad_crop,
    "resized_crop": resized_crop,
    "scale_jitter": scale_jitter,
    "color_jitter": color_jitter,
    "lighting": lighting,
    "cutout": cutout,
}
"""By the names that ``jax231 train --augment`` knows."""


def pipeline(names: Sequence[str]) -> Augmentation:
    """The augmentations of these names one after the other, each with a key of its own.

    Raises: ValueError for a name that is not in `AUGMENTATIONS`, with the nearest.
    """
    for name in names:
        said = hint(name, AUGMENTATIONS)
        require(name in AUGMENTATIONS, "augment", f"names of augmentations ({said})", name=name)

    def change(key: Key, images: Images) -> Images:
        for name, own in zip(names, jax.random.split(key, max(1, len(names))), strict=False):
            images = AUGMENTATIONS[name](own, images)
        return images

    return change


MOVING = ("flip", "pad_crop")
"""Augmentations that only move pixels, and so move masks as well."""

COLORING = ("color_jitter", "lighting")
"""Augmentations that leave every pixel in its place, and so leave masks alone."""


def labelled_pipeline(names: Sequence[str]) -> Labelled:
    """``f(key, images, labels)``, `pipeline` for images whose labels stay what they are."""
    change = pipeline(names)
    return lambda key, images, labels: (change(key, images), labels)


def masked_pipeline(names: Sequence[str]) -> Labelled:
    """``f(key, images, masks)``, `pipeline` for images with the class of every pixel, which moves as the pixel does.

    What a crop takes from outside the image is of class 0. Augmentations that resample or cover are refused: between
    classes there are no shades, and a covered pixel would keep its class.

    Raises: ValueError for those, and for a name that is not in `AUGMENTATIONS`, with the nearest.
    """
    pipeline(names)
    for name in names:
        expected = f"augmentations that masks follow ({', '.join(MOVING + COLORING)}) for data with masks"
        require(name in MOVING + COLORING, "augment", expected, name=name)

    def change(key: Key, images: Images, masks: Int[Array, "n ..."]) -> tuple[Images, Int[Array, "n ..."]]:
        for name, own in zip(names, jax.random.split(key, max(1, len(names))), strict=False):
            images = AUGMENTATIONS[name](own, images)
            if name in MOVING:  # draws the same numbers for any number of channels
                masks = AUGMENTATIONS[name](own, masks[..., None])[..., 0]
        return images, masks

    return change


def mixup(
    key: Key, images: Float[Array, "n ..."], targets: Float[Array, "n k"], strength: float
) -> tuple[Float[Array, "n ..."], Float[Array, "n k"]]:
    """Each image mixed with another of the batch, and its target alike: ``lam x + (1 - lam) x'``.

    ``lam`` is drawn once a batch from Beta(strength, strength), the partners by a permutation.

    Source: Zhang et al. 2018 (arXiv:1710.09412), equation 2 and figure 1.
    """
    key_share, key_partner = jax.random.split(key)
    share = jax.random.beta(key_share, strength, strength).astype(images.dtype)
    partner = jax.random.permutation(key_partner, len(images))
    return share * images + (1 - share) * images[partner], share * targets + (1 - share) * targets[partner]


def _zoomed(images: Images, shares: Float[Array, "n 2"], corners: Float[Array, "n 2"]) -> Images:
    """Of each image the part at `corners`, in pixels, whose sides are these shares of its own, at the full size."""

    def one(image: Array, share: Array, corner: Array) -> Array:
        scale = 1 / share
        return jax.image.scale_and_translate(
            image.astype(jnp.float32), image.shape, (0, 1), scale, -corner * scale, method="linear", antialias=False
        )

    return _as(images, jax.vmap(one)(images, shares, corners))


def _hue_turn(angle: Array) -> Float[Array, "3 3"]:
    """The matrix that turns the hue of a colour by `angle`."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.eye(3).at[1:, 1:].set(jnp.array([[cos, -sin], [sin, cos]]))
    return jnp.asarray(np.linalg.inv(YIQ)) @ turn @ YIQ


def _as(images: Images, x: Float[Array, "..."]) -> Num[Array, "..."]:
    """`x` within 0 and 255, in the type of `images`."""
    x = jnp.clip(x, 0, 255)
    whole = jnp.issubdtype(images.dtype, jnp.integer)
    return (jnp.round(x) if whole else x).astype(images.dtype)
