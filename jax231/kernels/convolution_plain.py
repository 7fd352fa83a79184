"""The three bilinear maps of a convolution in plain JAX: the forms that are quick on a CPU, and JAX's own.

The CPU backend of XLA is quick at a forward convolution of four channels or more and at matrix products, inside loops
as well as outside; its gradients of a convolution, grouped convolutions and few channels are slow, up to a hundredfold.
So every map is written as one of these two, by shape:

- a 1x1 window is a matrix product, a depthwise kernel a sum over the places of the window, groups are taken in turn;
- the output of few channels is a convolution whose pixels are several neighbours joined;
- the image is a convolution of the output with the kernel turned round, all phases of a stride at once;
- the kernel is a product of patches with the output, block by block: what is in work stays in the cache, and memory is
  bounded.

Models that are mapped over (lanes) are taken in turn as well: a `vmap` would make a grouped convolution.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from jax231.kernels.geometry import Geometry
from jax231.kernels.primitive import varying_like
from jax231.kernels.windows import shifted

LAYOUT = ("NHWC", "HWIO", "NHWC")

Padding = tuple[tuple[int, int], tuple[int, int]]
NONE: Padding = ((0, 0), (0, 0))

BLOCK = 2**17
"""Entries of a block of patches: half a MiB of float32, the second level of one core's cache."""

BLOCK_PIXELS = 512
"""Fewest pixels of a block: the sum of the blocks' products costs little beside the products."""


def output_of(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """The convolution: x (n, *size, groups * cin), kernel (kh, kw, cin, cout) -> (n, oh, ow, cout)."""
    if 0 in (x.size, kernel.size):
        return stock_output(x, kernel, geometry)
    if geometry.groups > 1:
        form = _depthwise_output if kernel.shape[2] == 1 else functools.partial(_by_groups, output_of)
        return form(x, kernel, geometry)
    if geometry.window == (1, 1):
        (pixels,) = _places(x, geometry)
        return jnp.tensordot(pixels, kernel[0, 0], 1)
    outputs = _outputs_to_join(kernel.shape[2], geometry)
    return _output_of_joined(x, kernel, geometry, outputs) if outputs else stock_output(x, kernel, geometry)


def image_of(y: Array, kernel: Array, geometry: Geometry) -> Array:
    """`output_of` transposed in x: y (n, oh, ow, cout), kernel (kh, kw, cin, cout) -> (n, *size, groups * cin)."""
    if 0 in (y.size, kernel.size):
        return stock_image(y, kernel, geometry)
    if geometry.groups > 1:
        form = _depthwise_image if kernel.shape[2] == 1 else functools.partial(_by_groups, image_of)
        return form(y, kernel, geometry)
    if geometry.window == (1, 1):
        return _spread(jnp.tensordot(y, kernel[0, 0], ((3,), (1,))), geometry, _turned_padding(geometry))
    if all(s == 1 or d == 1 for s, d in zip(geometry.stride, geometry.dilation, strict=True)):
        return _image_by_phases(y, kernel, geometry)
    y = _spread(y, geometry)
    around = Geometry(_size(y), geometry.window, (1, 1), _turned_padding(geometry), geometry.dilation)
    return output_of(y, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), around)


def kernel_of(x: Array, y: Array, geometry: Geometry) -> Array:
    """`output_of` transposed in the kernel: x (n, *size, groups * cin), y (n, oh, ow, cout) -> (kh, kw, cin, cout)."""
    if 0 in (x.size, y.size):
        return stock_kernel(x, y, geometry)
    if geometry.groups > 1:
        form = _depthwise_kernel if x.shape[3] == geometry.groups else functools.partial(_by_groups, kernel_of)
        return form(x, y, geometry)
    if geometry.window == (1, 1):
        (pixels,) = _places(x, geometry)
        return _correlation(pixels, y)[None, None]
    return _kernel_by_blocks(x, y, geometry)


def in_turn(form: Callable[..., Array]) -> Callable[..., Array]:
    """`form` for operands with a leading axis of lanes where `laned` says so: one lane after the other."""

    def mapped(*operands: Array, geometry: Geometry, laned: Sequence[bool]) -> Array:
        def one(of_lane: Sequence[Array]) -> Array:
            each = iter(of_lane)
            return form(*(next(each) if lane else a for a, lane in zip(operands, laned, strict=True)), geometry)

        return lax.map(one, [a for a, lane in zip(operands, laned, strict=True) if lane])

    return mapped


def stock_output(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """`output_of` by JAX's own convolution (whose result is wrong for a negative padding in float32 on the CPU)."""
    if min(map(min, geometry.padding)) < 0:
        x = _padded(x, geometry)
        geometry = geometry._replace(size=_size(x), padding=NONE)
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=geometry.stride,
        padding=geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=LAYOUT,
        feature_group_count=geometry.groups,
    )


def stock_image(y: Array, kernel: Array, geometry: Geometry) -> Array:
    """`image_of` by the transpose of JAX's own convolution; its image lies over a mesh as the batch of y does."""
    x = jnp.broadcast_to(
        y.sum((1, 2, 3), keepdims=True), (y.shape[0], *geometry.size, geometry.groups * kernel.shape[2])
    )
    (x,) = jax.linear_transpose(lambda x: stock_output(x, kernel, geometry), x)(y)
    return x


def stock_kernel(x: Array, y: Array, geometry: Geometry) -> Array:
    """`kernel_of` by the transpose of JAX's own convolution."""
    kernel = _zeros((*geometry.window, x.shape[3] // geometry.groups, y.shape[3]), x, y)
    (kernel,) = jax.linear_transpose(lambda kernel: stock_output(x, kernel, geometry), kernel)(y)
    return kernel


def _outputs_to_join(channels: int, geometry: Geometry) -> int:
    """How many neighbours of a row of the output to compute as one, for at least four channels; 0 for none."""
    if channels >= 4 or geometry.dilation[1] > 1:
        return 0
    stride = geometry.stride[1]
    fits = [b for b in (1, 2, 4) if b * stride * channels >= 4 and geometry.output[1] % b == 0]
    return fits[0] if fits else 0


def _output_of_joined(x: Array, kernel: Array, geometry: Geometry, outputs: int) -> Array:
    """Joins pixels of a row, as many as `outputs` neighbours are apart.

    A window of joined pixels covers those of all its outputs; the kernel is zero where one of them does not look.
    """
    kh, kw, cin, cout = kernel.shape
    stride = geometry.stride[1]
    joined = outputs * stride
    window = -(-((outputs - 1) * stride + kw) // joined)
    width = (geometry.output[1] // outputs - 1 + window) * joined
    rows, (left, _) = geometry.padding
    x = _resized(x, (rows, (left, width - left - x.shape[2])))
    x = x.reshape(*x.shape[:2], width // joined, joined * cin)
    places = [(j * stride, window * joined - kw - j * stride) for j in range(outputs)]
    kernel = jnp.stack([jnp.pad(kernel, ((0, 0), place, (0, 0), (0, 0))) for place in places], 3)
    kernel = kernel.reshape(kh, window, joined * cin, outputs * cout)
    wide = Geometry(_size(x), (kh, window), (geometry.stride[0], 1), dilation=(geometry.dilation[0], 1))
    return stock_output(x, kernel, wide).reshape(-1, *geometry.output, cout)


def _image_by_phases(y: Array, kernel: Array, geometry: Geometry) -> Array:
    """A pixel of row i sees the window's rows a = i + top modulo the stride: one convolution makes all these phases."""
    kh, kw, cin, cout = kernel.shape
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    height, width = -(-kh // sh), -(-kw // sw)
    kernel = jnp.pad(kernel, ((0, height * sh - kh), (0, width * sw - kw), (0, 0), (0, 0)))
    kernel = kernel.reshape(height, sh, width, sw, cin, cout)[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)
    kernel = kernel.reshape(height, width, cout, sh * sw * cin)
    if geometry.stride == (1, 1):
        around = Geometry(geometry.output, (kh, kw), padding=_turned_padding(geometry), dilation=geometry.dilation)
        return output_of(y, kernel, around)
    reach = ((height - 1) * dh,) * 2, ((width - 1) * dw,) * 2
    around = Geometry(geometry.output, (height, width), padding=reach, dilation=(dh, dw))
    phases = output_of(y, kernel, around)
    rows, columns = phases.shape[1:3]
    x = phases.reshape(-1, rows, columns, sh, sw, cin).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, rows * sh, columns * sw, cin)
    ends = zip(geometry.size, x.shape[1:3], geometry.padding, strict=True)
    return _resized(x, [(-low, size + low - held) for size, held, (low, _) in ends])


def _kernel_by_blocks(x: Array, y: Array, geometry: Geometry) -> Array:
    """Patches of a few images, or of a few rows of one, times their outputs, added up block after block."""
    n, (oh, ow), (kh, kw) = len(x), geometry.output, geometry.window
    depth = kh * kw * x.shape[3]
    pixels = max(BLOCK // depth, BLOCK_PIXELS)
    images, rows = _divisor(n, pixels // (oh * ow)), _divisor(oh, pixels // ow)
    x = _padded(x, geometry)
    tall = (rows - 1) * geometry.stride[0] + (kh - 1) * geometry.dilation[0] + 1
    block = geometry._replace(size=(tall, x.shape[2]), padding=NONE)
    steps = oh // rows

    def product(i: Array, y: Array) -> Array:
        at = (i // steps * images, i % steps * (rows * geometry.stride[0]), 0, 0)
        places = _places(lax.dynamic_slice(x, at, (images, tall, *x.shape[2:])), block)
        return _correlation(jnp.concatenate(places, -1), y)

    count = n // images * steps
    if count == 1:
        kernel = product(jnp.array(0), y)
    else:
        y = y.reshape(count, images, rows, ow, y.shape[3])
        start = _zeros((depth, y.shape[-1]), x, y)
        kernel, _ = lax.scan(lambda k, iy: (k + product(*iy), None), start, (jnp.arange(count), y))
    return kernel.reshape(kh, kw, -1, y.shape[-1])


def _depthwise_output(x: Array, kernel: Array, geometry: Geometry) -> Array:
    return _weighed_places(_repeated(x, kernel.shape[3]), kernel, geometry)


def _depthwise_image(y: Array, kernel: Array, geometry: Geometry) -> Array:
    y = _spread(y, geometry)
    around = geometry._replace(size=_size(y), stride=(1, 1), padding=_turned_padding(geometry))
    x = _weighed_places(y, jnp.flip(kernel, (0, 1)), around)
    return x if kernel.shape[3] == geometry.groups else x.reshape(*x.shape[:3], geometry.groups, -1).sum(4)


def _weighed_places(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Sum over the places of the window, each channel by its filter; image by image, which is as quick inside loops."""
    filters = kernel.reshape(-1, kernel.shape[3])

    def of_one(image: Array) -> Array:
        products = [place[0] * k for place, k in zip(_places(image[None], geometry), filters, strict=True)]
        return functools.reduce(jnp.add, products)

    return lax.map(of_one, x)


def _depthwise_kernel(x: Array, y: Array, geometry: Geometry) -> Array:
    """Image by image and for each column of the output, so that the innermost loops run over channels."""
    x = _repeated(x, y.shape[3])

    def of_one(image: Array, y: Array) -> Array:
        return jnp.stack([jnp.sum(place[0] * y, 0) for place in _places(image[None], geometry)])

    (kh, kw), (_, ow), channels = geometry.window, geometry.output, y.shape[3]
    start = _zeros((kh * kw, ow, channels), x, y)
    columns, _ = lax.scan(lambda k, one: (k + of_one(*one), None), start, (x, y))
    return columns.sum(1).reshape(kh, kw, 1, channels)


def _repeated(x: Array, channels: int) -> Array:
    """Each channel as often as a filter sees it."""
    return x if x.shape[3] == channels else jnp.repeat(x, channels // x.shape[3], 3)


def _by_groups(form: Callable[..., Array], left: Array, right: Array, geometry: Geometry) -> Array:
    """`form` of each group's channels; they are the last axis of every operand and result."""

    def split(a: Array) -> Array:
        return jnp.moveaxis(a.reshape(*a.shape[:-1], geometry.groups, -1), -2, 0)

    alone = geometry._replace(groups=1)
    out = lax.map(lambda pair: form(*pair, alone), (split(left), split(right)))
    out = jnp.moveaxis(out, 0, -2)
    return out.reshape(*out.shape[:-2], -1)


def _places(x: Array, geometry: Geometry) -> list[Array]:
    """The pixels at each place of the window, row by row: kh * kw arrays (n, oh, ow, c)."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.window, geometry.stride, geometry.dilation
    rows = shifted(_padded(x, geometry), 1, kh, sh, dh)
    return [place for row in rows for place in shifted(row, 2, kw, sw, dw)]


def _correlation(x: Array, y: Array) -> Array:
    """Products of the channels of x with those of y, summed over all pixels."""
    return jnp.matmul(x.reshape(-1, x.shape[-1]).T, y.reshape(-1, y.shape[-1]))


def _padded(x: Array, geometry: Geometry) -> Array:
    return _resized(x, geometry.padding)


def _size(x: Array) -> tuple[int, int]:
    return x.shape[1], x.shape[2]


def _resized(x: Array, ends: Sequence[tuple[int, int]], between: Sequence[int] = (0, 0)) -> Array:
    """x (n, h, w, c) with zeros at the ends of its rows and columns, or less of it, and zeros between them."""
    if not any(map(any, ends)) and not any(between):
        return x
    sides = [(low, high, inside) for (low, high), inside in zip(ends, between, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *sides, (0, 0, 0)])


def _spread(y: Array, geometry: Geometry, ends: Padding = NONE) -> Array:
    """y with its pixels where their windows begin."""
    return _resized(y, ends, [s - 1 for s in geometry.stride])


def _turned_padding(geometry: Geometry) -> Padding:
    """Padding under which the turned kernel, over the spread output, makes the image."""
    axes = zip(*geometry[:5], geometry.output, strict=True)
    rows, columns = [((w - 1) * d - low, n + low - (o - 1) * s - 1) for n, w, s, (low, _), d, o in axes]
    return rows, columns


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`, at least 1."""
    return next(d for d in range(max(1, min(n, most)), 0, -1) if n % d == 0)


def _zeros(shape: tuple[int, ...], *beside: Array) -> Array:
    """Zeros to which something of the other arrays is added in a loop: inside `shard_map` they vary as those do."""
    return varying_like(jnp.zeros(shape, beside[0].dtype), *beside)
