"""Convolution and its transpose, each in two forms with one result; the static shape decides which one runs.

`by_patches` copies the pixels under every window side by side and does one matrix product; `by_lax` is XLA's own
convolution. On the CPU, XLA runs the gradient of its convolution much slower inside any loop (`scan`, `while`, `map`),
and a `vmap` over kernels as a grouped convolution; slices and matrix products suffer from neither, whatever the
derivative. Gradient of a 3x3 convolution by both operands, two x86 cores, milliseconds:

    input             cout  patch entries   patches: alone, in scan   lax: alone, in scan
    (128, 8, 8, 8)      16           2^19          1.5      2.9           2.0        31
    (64, 32, 32, 16)    16           2^23           60       44            28       524
    (64, 32, 32, 32)    64           2^24          203      158           445      7289

So patches are taken as far as memory is no concern. The transposes are written as a forward computation each and are
quick in loops too.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jax231.core.precision import statistics_dtype
from jax231.kernels.windows import shifted

PATCH_LIMIT = 2**26
"""Largest patch matrix on the CPU, in entries (256 MiB of float32). A gradient keeps one matrix a layer in memory."""

LAYOUT = ("NHWC", "HWIO", "NHWC")


class Geometry(NamedTuple):
    """How the windows lie, static: (height, width) pairs, padding as ((top, bottom), (left, right))."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_size(self, size: Sequence[int], window: Sequence[int]) -> tuple[int, int]:
        """Number of window positions along height and width of an image of `size`."""
        axes = zip(size, window, self.stride, self.padding, self.dilation, strict=True)
        height, width = [(n + low + high - (w - 1) * d - 1) // s + 1 for n, w, s, (low, high), d in axes]
        return height, width


def convolve(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolution of x (n, h, w, groups * cin) with a kernel (kh, kw, cin, cout), in the form that is quick here.

    Narrow types (bfloat16, float16) are accumulated in float32 and given back narrow.
    """
    dtype = jnp.result_type(x, kernel)
    size = geometry.output_size(x.shape[1:3], kernel.shape[:2])
    form = by_patches if _patches_are_quick(x.shape[0], size, kernel, geometry) else by_lax
    x, kernel = _widened(x, kernel)
    return form(x, kernel, geometry).astype(dtype)


def convolve_transposed(y: Array, kernel: Array, geometry: Geometry, size: Sequence[int]) -> Array:
    """The transpose of ``x -> convolve(x, kernel, geometry)``: y (n, oh, ow, cout) -> (n, *size, groups * cin)."""
    dtype = jnp.result_type(y, kernel)
    quick = _patches_are_quick(y.shape[0], y.shape[1:3], kernel, geometry)
    form = transposed_by_patches if quick else transposed_by_lax
    y, kernel = _widened(y, kernel)
    return form(y, kernel, geometry, size).astype(dtype)


def by_patches(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """The pixels under each window side by side, times the kernel as a matrix; one group only."""
    kh, kw, cin, cout = kernel.shape
    x = jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)))
    rows = shifted(x, 1, kh, geometry.stride[0], geometry.dilation[0])
    places = [place for row in rows for place in shifted(row, 2, kw, geometry.stride[1], geometry.dilation[1])]
    patches = jnp.concatenate(places, -1)
    pixels = math.prod(patches.shape[:-1])  # as one tall matrix: XLA's product of a batched one is a third slower
    product = jnp.matmul(patches.reshape(pixels, kh * kw * cin), kernel.reshape(kh * kw * cin, cout))
    return product.reshape(*patches.shape[:-1], cout)


def by_lax(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """XLA's convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=geometry.stride,
        padding=geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=LAYOUT,
        feature_group_count=geometry.groups,
    )


def transposed_by_patches(y: Array, kernel: Array, geometry: Geometry, size: Sequence[int]) -> Array:
    """One matrix product, then every place of the windows is added onto its pixels; one group only."""
    image = jax.ShapeDtypeStruct((y.shape[0], *size, kernel.shape[2]), y.dtype)
    (x,) = jax.linear_transpose(lambda x: by_patches(x, kernel, geometry), image)(y)
    return x


def transposed_by_lax(y: Array, kernel: Array, geometry: Geometry, size: Sequence[int]) -> Array:
    """A convolution of `y`, spread out by the stride, with the kernel turned round and its channels exchanged.

    (`jax.linear_transpose` of `by_lax` has the same result, in the form that XLA runs slowly inside loops.)
    """
    kh, kw, cin, cout = kernel.shape
    groups = geometry.groups
    turned = jnp.flip(kernel, (0, 1)).reshape(kh, kw, cin, groups, cout // groups)
    turned = turned.transpose(0, 1, 4, 3, 2).reshape(kh, kw, cout // groups, groups * cin)
    padding = []
    for axis in (0, 1):
        low = (kernel.shape[axis] - 1) * geometry.dilation[axis] - geometry.padding[axis][0]
        spread = (y.shape[1 + axis] - 1) * geometry.stride[axis] + 1
        padding.append((low, size[axis] - spread + geometry.padding[axis][0]))
    return lax.conv_general_dilated(
        y,
        turned,
        window_strides=(1, 1),
        padding=padding,
        lhs_dilation=geometry.stride,
        rhs_dilation=geometry.dilation,
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )


def _patches_are_quick(n: int, size: Sequence[int], kernel: Array, geometry: Geometry) -> bool:
    entries = n * math.prod(size) * math.prod(kernel.shape[:3])
    return jax.default_backend() == "cpu" and geometry.groups == 1 and entries <= PATCH_LIMIT


def _widened(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Both in one type that accumulates well; accelerators accumulate a narrow convolution in float32 by themselves."""
    dtype = jnp.result_type(x, kernel)
    if jax.default_backend() == "cpu":
        dtype = statistics_dtype(dtype)
    return x.astype(dtype), kernel.astype(dtype)
