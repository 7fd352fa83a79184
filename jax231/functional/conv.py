"""Convolution (cross-correlation, as in the course), its transpose, and convolution over time."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import require, require_rank
from jax231.functional.shapes import (
    AxisPadding,
    Padding,
    Pair,
    conv_output_size,
    conv_transpose_output_size,
    image_padding,
    image_pair,
)
from jax231.kernels.convolution import convolve, convolve_transposed
from jax231.kernels.geometry import Geometry


def conv2d(
    x: Float[ArrayLike, "..."],
    kernel: Float[ArrayLike, "..."],
    bias: Float[ArrayLike, "..."] | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = "SAME",
    dilation: Pair = 1,
    groups: int = 1,
) -> Float[Array, "n oh ow cout"]:
    """Slide every filter over the image and take its inner product with the pixels below.

    ``y[n, i, j, o] = bias[o] + sum_{a, b, c} kernel[a, b, c, o] * padded[n, i * stride + a * dilation, j * stride +
    b * dilation, c]``. The kernel is not turned round. With groups, output channels ``g * cout / groups`` up to
    ``(g + 1) * cout / groups - 1`` see input channels ``g * cin`` up to ``(g + 1) * cin - 1`` only. The form of the
    computation is chosen in `jax231.kernels.convolution`.

    Shapes: x (n, h, w, groups * cin), kernel (kh, kw, cin, cout), bias (cout,) -> (n, oh, ow, cout), sizes by
            `conv_output_size`; stride and dilation an integer or (height, width); padding "SAME", "VALID", an integer
            or ((top, bottom), (left, right)). Narrow types accumulate in float32.
    Raises: ValueError where shapes, groups or channels do not fit, or a window is larger than the padded image.
    Source: CS231n notes, convolutional-networks.
    """
    return _conv2d("conv2d", jnp.asarray(x), jnp.asarray(kernel), bias, stride, padding, dilation, groups)


def conv1d(
    x: Float[ArrayLike, "..."],
    kernel: Float[ArrayLike, "..."],
    bias: Float[ArrayLike, "..."] | None = None,
    *,
    stride: int = 1,
    padding: AxisPadding = "SAME",
    dilation: int = 1,
    groups: int = 1,
) -> Float[Array, "n ot cout"]:
    """`conv2d` along one axis, as over time. A causal one has ``padding=((k - 1) * dilation, 0)``.

    Shapes: x (n, t, groups * cin), kernel (k, cin, cout), bias (cout,) -> (n, ot, cout); padding "SAME", "VALID", an
            integer or (before, after).
    Raises: ValueError as `conv2d`.
    """
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    require_rank("conv1d", 3, "n t c", x=x)
    require_rank("conv1d", 3, "k cin cout", kernel=kernel)
    image = ((0, 0), padding) if not isinstance(padding, str | int) else padding
    image = ((0, 0), (padding, padding)) if isinstance(padding, int) else image
    y = _conv2d("conv1d", x[:, None], kernel[None], bias, (1, stride), image, (1, dilation), groups)
    return y[:, 0]


def conv2d_transpose(
    x: Float[ArrayLike, "..."],
    kernel: Float[ArrayLike, "..."],
    bias: Float[ArrayLike, "..."] | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = "SAME",
    output_size: Pair | None = None,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float[Array, "n h w cout"]:
    """The transpose of `conv2d` as a linear map: every input pixel adds a copy of the kernel to the output.

    ``<conv2d(u, kernel), v> = <u, conv2d_transpose(v, kernel)>`` with the same kernel, stride, padding, dilation and
    groups on both sides. Several image sizes have the same size after a strided convolution; the result has ``stride *
    size`` for "SAME" and the smallest of them for "VALID" and explicit padding, or `output_size`.

    Shapes: x (n, h, w, in), kernel (kh, kw, out / groups, in), the one of the convolution that is transposed, bias
            (out,) -> (n, *output_size, out).
    Raises: ValueError as `conv2d`, and where a convolution of `output_size` would not have the size of x.
    Source: CS231n, lecture on segmentation; Dumoulin and Visin 2016 (arXiv:1603.07285).
    """
    where = "conv2d_transpose"
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    require_rank(where, 4, "n h w in", x=x)
    require_rank(where, 4, "kh kw out in", kernel=kernel)
    fits = x.shape[-1] == kernel.shape[-1]
    require(fits, where, "x (n, h, w, in), kernel (kh, kw, out, in)", x=x, kernel=kernel)
    _require_groups(where, kernel, groups)
    stride, dilation = image_pair(stride, "stride", where=where), image_pair(dilation, "dilation", where=where)
    size, window = x.shape[1:3], (kernel.shape[0], kernel.shape[1])
    if output_size is None:
        # only "SAME" depends on the image, and its rule for the size does not ask for the padding
        ends = image_padding(size, window, stride, padding, dilation, where=where)
        axes = zip(size, window, stride, ("SAME",) * 2 if padding == "SAME" else ends, dilation, strict=True)
        output_size = [conv_transpose_output_size(*axis, where=where) for axis in axes]
    image = image_pair(output_size, "output_size", where=where)
    ends = image_padding(image, window, stride, padding, dilation, where=where)
    geometry = Geometry(image, window, stride, ends, dilation, groups)
    back = geometry.output
    fits = back == size
    require(fits, where, "an output_size that conv2d maps to the size of x", x=x, output_size=image, mapped_to=back)
    return _plus_bias(where, convolve_transposed(x, kernel, geometry), bias)


def _conv2d(
    where: str, x: Array, kernel: Array, bias: ArrayLike | None, stride: Pair, padding, dilation: Pair, groups: int
) -> Array:
    require_rank(where, 4, "n h w c", x=x)
    require_rank(where, 4, "kh kw cin cout", kernel=kernel)
    _require_groups(where, kernel, groups)
    fits = x.shape[-1] == groups * kernel.shape[2]
    require(fits, where, "x with groups * cin channels, kernel (kh, kw, cin, cout)", x=x, kernel=kernel, groups=groups)
    stride, dilation = image_pair(stride, "stride", where=where), image_pair(dilation, "dilation", where=where)
    size, window = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
    ends = image_padding(size, window, stride, padding, dilation, where=where)
    for axis in zip(size, window, stride, ends, dilation, strict=True):
        conv_output_size(*axis, where=where)
    return _plus_bias(where, convolve(x, kernel, Geometry(size, window, stride, ends, dilation, groups)), bias)


def _require_groups(where: str, kernel: Array, groups: int) -> None:
    fits = groups >= 1 and kernel.shape[-1] % groups == 0
    require(fits, where, "groups of at least 1 that divide the kernel's last axis", kernel=kernel, groups=groups)


def _plus_bias(where: str, y: Array, bias: ArrayLike | None) -> Array:
    if bias is None:
        return y
    bias = jnp.asarray(bias)
    require(bias.shape == y.shape[-1:], where, "bias with one entry an output channel", bias=bias, y=y)
    return y + bias
