"""Pooling and its inverses."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Integer

from jax231.core.checks import is_concrete, require, require_rank
from jax231.core.precision import statistics_dtype
from jax231.functional.shapes import Padding, Pair, conv_output_size, image_padding, image_pair
from jax231.kernels import pooling
from jax231.kernels.geometry import Geometry
from jax231.kernels.windows import shifted


def max_pool(
    x: Float[ArrayLike, "..."], window: Pair, *, stride: Pair | None = None, padding: Padding = "VALID"
) -> Float[Array, "n oh ow c"]:
    """Largest entry under each window; `stride` None is the window itself.

    Padding is never chosen: a window over the edge is that much smaller.

    Shapes:   (n, h, w, c) -> (n, oh, ow, c), sizes by `conv_output_size`; padding as in `conv2d`, below the window.
    Gradient: goes to the first maximum in row-major order of the window. NaN stays NaN, and is larger than any number:
              the first NaN takes the gradient.
    Raises:   ValueError for a wrong rank, a window larger than the padded image, padding as wide as the window.
    """
    x = jnp.asarray(x)
    return pooling.max_pool(x, _windows("max_pool", x, window, stride, padding))


def max_pool_with_switches(
    x: Float[ArrayLike, "..."], window: Pair, *, stride: Pair | None = None, padding: Padding = "VALID"
) -> tuple[Float[Array, "n oh ow c"], Int[Array, "n oh ow c"]]:
    """`max_pool`, and which pixel won each window: its flat index ``row * w + column`` within image and channel.

    Shapes: (n, h, w, c) -> (n, oh, ow, c) twice; switches are int32.
    Raises: ValueError as `max_pool`.
    Source: Zeiler and Fergus 2014 (arXiv:1311.2901), section 2.1.
    """
    x = jnp.asarray(x)
    geometry = _windows("max_pool_with_switches", x, window, stride, padding)
    y, places = pooling.max_pool_with_places(x, geometry)
    width, kw = geometry.size[1], geometry.window[1]
    rows, columns = _corners(geometry)
    corner = (rows[:, None] * width + columns)[..., None].astype(np.int32)
    places = places.astype(np.int32)
    return y, places + corner + lax.div(places, jnp.int32(kw)) * (width - kw)


def avg_pool(
    x: Float[ArrayLike, "..."],
    window: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = "VALID",
    count_padding: bool = False,
) -> Float[Array, "n oh ow c"]:
    """Mean of the entries under each window; `stride` None is the window itself.

    Padding does not count: a window over the edge divides by the number of its pixels (TensorFlow's convention). With
    `count_padding` it divides by kh * kw always (PyTorch's default).

    Shapes: (n, h, w, c) -> (n, oh, ow, c), as `max_pool`; narrow types are summed in float32.
    Raises: ValueError as `max_pool`.
    """
    x = jnp.asarray(x)
    geometry = _windows("avg_pool", x, window, stride, padding)
    total = pooling.window_sum(x.astype(statistics_dtype(x.dtype)), geometry)
    count = math.prod(geometry.window) if count_padding else _pixels(geometry).astype(total.dtype)
    return (total / count).astype(x.dtype)


def global_avg_pool(x: Float[ArrayLike, "..."]) -> Float[Array, "n c"]:
    """Mean over all pixels of each channel, summed in float32 for narrow types.

    Shapes: (n, h, w, c) -> (n, c).
    Raises: ValueError for a wrong rank or an image without pixels.
    """
    x = jnp.asarray(x)
    require_rank("global_avg_pool", 4, "n h w c", x=x)
    require(math.prod(x.shape[1:3]) > 0, "global_avg_pool", "an image of at least one pixel", x=x)
    return jnp.mean(x, (1, 2), dtype=statistics_dtype(x.dtype)).astype(x.dtype)


def adaptive_avg_pool(x: Float[ArrayLike, "..."], size: Pair) -> Float[Array, "n oh ow c"]:
    """Means of windows that share out the image into `size` (height, width) outputs, whatever its own size.

    Along an axis of p pixels window i of m reads from ``floor(i * p / m)`` up to ``ceil((i + 1) * p / m)``, as in
    PyTorch: neighbours overlap unless m divides p, and where m is larger pixels are repeated. Formed as a product with
    a small matrix along each axis, so that an infinity or NaN reaches every window of its channel.

    Shapes: (n, h, w, c) -> (n, oh, ow, c); narrow types are summed in float32.
    Raises: ValueError for a wrong rank, an image without pixels, or a size below 1.
    """
    where = "adaptive_avg_pool"
    x, (height, width) = jnp.asarray(x), image_pair(size, "size", where=where)
    require_rank(where, 4, "n h w c", x=x)
    require(math.prod(x.shape[1:3]) > 0, where, "an image of at least one pixel", x=x)
    wide = x.astype(statistics_dtype(x.dtype))
    rows, columns = (jnp.asarray(_shares(*pair), wide.dtype) for pair in ((height, x.shape[1]), (width, x.shape[2])))
    wide = jnp.einsum("ph,nhwc->npwc", rows, wide, precision=lax.Precision.HIGHEST)
    return jnp.einsum("qw,npwc->npqc", columns, wide, precision=lax.Precision.HIGHEST).astype(x.dtype)


def max_unpool(
    y: Float[ArrayLike, "..."], switches: Integer[ArrayLike, "..."], shape: Sequence[int]
) -> Float[Array, "n h w c"]:
    """Put each entry of `y` at the pixel that its switch names, zero elsewhere.

    Windows that overlap may name one pixel several times: it gets the mean of their entries. Straight after pooling
    these are copies of one value, which so stands there once: inverse placement, as in PyTorch (which keeps whichever
    comes last where they differ). The mean is linear in `y`, independent of any order, and the pseudo-inverse of
    reading an image at the switches: of all images that come closest to `y` there, the smallest. The transpose of
    that reading, with the sum in place of the mean, is the gradient of `max_pool`.

    Shapes: y and switches (n, oh, ow, c), shape that of the pooled image, (n, h, w, c) or (h, w) -> (n, h, w, c).
    Raises: ValueError where shapes do not fit, or a switch whose value is known lies outside [0, h * w).
    Source: Zeiler and Fergus 2014 (arXiv:1311.2901); Badrinarayanan et al. 2017 (SegNet, arXiv:1511.00561).
    """
    where = "max_unpool"
    y, places = jnp.asarray(y), jnp.asarray(switches)
    require_rank(where, 4, "n oh ow c", y=y)
    require(places.shape == y.shape, where, "one switch for each entry of y", y=y, switches=places)
    require(jnp.issubdtype(places.dtype, jnp.integer), where, "integer switches", dtype=str(places.dtype))
    n, _, _, c = y.shape
    fits = len(shape) == 2 or (len(shape) == 4 and (shape[0], shape[3]) == (n, c))
    require(fits, where, "shape as (n, h, w, c) with n and c of y, or (h, w)", y=y, shape=tuple(shape))
    h, w = shape[-3:-1] if len(shape) == 4 else shape
    if is_concrete(places) and places.size:
        known = np.asarray(places)  # inside a trace even jnp.min of a constant is traced
        low, high = int(known.min()), int(known.max())
        require(low >= 0 and high < h * w, where, f"switches within [0, {h * w})", smallest=low, largest=high)

    return pooling.put_mean(y, places, (h, w))


def nearest_unpool(x: Float[ArrayLike, "..."], factor: Pair) -> Float[Array, "n oh ow c"]:
    """Repeat every pixel over a block of `factor` (height, width).

    Shapes: (n, h, w, c) -> (n, factor * h, factor * w, c).
    Raises: ValueError for a wrong rank or a factor below 1.
    """
    x, (fh, fw) = _enlarged("nearest_unpool", x, factor)
    n, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (n, h, fh, w, fw, c)).reshape(n, h * fh, w * fw, c)


def bed_of_nails_unpool(x: Float[ArrayLike, "..."], factor: Pair) -> Float[Array, "n oh ow c"]:
    """Put every pixel into the upper left corner of a block of zeros of `factor` (height, width).

    Shapes: (n, h, w, c) -> (n, factor * h, factor * w, c).
    Raises: ValueError for a wrong rank or a factor below 1.
    """
    x, (fh, fw) = _enlarged("bed_of_nails_unpool", x, factor)
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (0, fh - 1, fh - 1), (0, fw - 1, fw - 1), (0, 0, 0)))


def bilinear_upsample(x: Float[ArrayLike, "..."], factor: Pair) -> Float[Array, "n oh ow c"]:
    """Interpolate linearly between pixel centres, along height, then along width.

    Pixels are squares with centres at half integers: output i lies at ``(i + 1/2) / factor - 1/2`` of the input
    (`jax.image.resize`, TensorFlow 2; PyTorch with ``align_corners=False``). Beyond the outermost centres the edge is
    repeated.

    Shapes: (n, h, w, c) -> (n, factor * h, factor * w, c); narrow types are interpolated in float32.
    Raises: ValueError for a wrong rank or a factor below 1.
    """
    x, (fh, fw) = _enlarged("bilinear_upsample", x, factor)
    wide = x.astype(statistics_dtype(x.dtype))
    return _interpolated(_interpolated(wide, 1, fh), 2, fw).astype(x.dtype)


def _windows(where: str, x: Array, window: Pair, stride: Pair | None, padding: Padding) -> Geometry:
    """How the windows lie over the image, checked."""
    require_rank(where, 4, "n h w c", x=x)
    window = image_pair(window, "window", where=where)
    stride = window if stride is None else image_pair(stride, "stride", where=where)
    ends = image_padding(x.shape[1:3], window, stride, padding, where=where)
    for n, k, s, pad in zip(x.shape[1:3], window, stride, ends, strict=True):
        require(
            max(pad) < k, where, "padding below the window, so that every window sees a pixel", window=k, padding=pad
        )
        conv_output_size(n, k, s, pad, where=where)
    height, width = x.shape[1:3]
    return Geometry((height, width), window, stride, ends)


def _corners(geometry: Geometry) -> list[np.ndarray]:
    """The pixel at which each window starts, along height and along width; negative in the padding."""
    axes = zip(geometry.output, geometry.stride, geometry.padding, strict=True)
    return [np.arange(n) * s - low for n, s, (low, _) in axes]


def _pixels(geometry: Geometry) -> np.ndarray:
    """How many pixels of the image itself each window covers, (oh, ow, 1)."""
    axes = zip(geometry.size, geometry.window, _corners(geometry), strict=True)
    counts = [np.minimum(start + k, n) - np.maximum(start, 0) for n, k, start in axes]
    return np.outer(*counts)[..., None]


def _shares(windows: int, pixels: int) -> np.ndarray:
    """The weight of each pixel of an axis in the mean of each adaptive window, (windows, pixels)."""
    place, window = np.arange(pixels), np.arange(windows)[:, None]
    inside = (place >= window * pixels // windows) & (place < -(-(window + 1) * pixels // windows))
    return inside / inside.sum(1, keepdims=True)


def _enlarged(where: str, x: ArrayLike, factor: Pair) -> tuple[Array, tuple[int, int]]:
    x = jnp.asarray(x)
    require_rank(where, 4, "n h w c", x=x)
    return x, image_pair(factor, "factor", where=where)


def _interpolated(x: Array, axis: int, factor: int) -> Array:
    """Each pixel makes `factor` outputs, between itself and the neighbour on the side where the output lies."""
    size = x.shape[axis]
    ends = [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)]
    before, _, after = shifted(jnp.pad(x, ends, mode="edge"), axis, 3)
    offsets = (np.arange(factor) + 0.5) / factor - 0.5
    outputs = [(1 - abs(t)) * x + abs(t) * (before if t < 0 else after) for t in offsets.tolist()]
    return jnp.stack(outputs, axis + 1).reshape(*x.shape[:axis], size * factor, *x.shape[axis + 1 :])
