"""Pooling windows over an image: the largest entry and its place, sums, and what is linear around them.

A maximum is an entry of the image read at a place, so its tangent is the image's tangent read there, and its cotangent
is added there: `read_at` and `add_at` are transposes of each other and keep their places through every derivative.
Likewise `window_sum` and `spread`, `put_mean` and `take_mean`. All of them gather: each result is written once, by one
task and in a fixed order (`put_mean`, whose switches are any numbers, writes each channel by one task).

A place numbers the pixels of a window in row-major order, `window[1] * row + column`, and never lies in the padding:
one byte an output where the window has at most 255 places, beside the four or eight of the value.

Plain forms, where there is no compiled kernel: strided slices for what is read, and for what is added the windows over
a pixel, found by repeating the outputs over their strides. Transposes that XLA would write by itself (an addition of
slices padded within) run 5 to 40 times slower on the CPU.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.interpreters import ad

from jax231.core.precision import statistics_dtype
from jax231.kernels.first_max import first_max, first_max_with_places
from jax231.kernels.geometry import Geometry
from jax231.kernels.primitive import Call, apply, primitive
from jax231.kernels.windows import shifted


def max_pool(x: Array, geometry: Geometry) -> Array:
    """Largest entry under each window, (n, h, w, c) -> (n, oh, ow, c).

    Gradient: whole to the first maximum of the window, in row-major order; a NaN is larger than any number.
    """
    return _in_wide_type(functools.partial(apply, _max_pool), x, geometry=geometry)


def max_pool_with_places(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    """`max_pool`, and the place of its first maximum within each window."""
    y, places = apply(_max_pool_with_places, x.astype(statistics_dtype(x.dtype)), geometry=geometry)
    return y.astype(x.dtype), places


def window_sum(x: Array, geometry: Geometry) -> Array:
    """Sum of the pixels under each window, (n, h, w, c) -> (n, oh, ow, c); narrow types are summed in float32."""
    return _in_wide_type(functools.partial(apply, _window_sum), x, geometry=geometry)


def put_mean(y: Array, switches: Array, size: tuple[int, int]) -> Array:
    """An image that holds at each pixel the mean of the entries of `y` whose switch names it, zero where none does.

    Switches are flat indices ``row * w + column``; those outside the image put nothing.
    """
    if switches.dtype.itemsize < np.dtype(np.int32).itemsize:
        switches = switches.astype(np.int32)
    elif switches.dtype != np.int32:
        switches = jnp.clip(switches, 0 if switches.dtype.kind == "u" else -1, size[0] * size[1]).astype(np.int32)
    return _in_wide_type(functools.partial(apply, _put_mean), y, switches, size=size)


def _in_wide_type(f: Callable[..., Array], x: Array, *others: Array, **params: Any) -> Array:
    return f(x.astype(statistics_dtype(x.dtype)), *others, **params).astype(x.dtype)


# Maximum -------------------------------------------------------------------------------------------------------------


def _padded(x: Array, geometry: Geometry, value: float) -> Array:
    return jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)), constant_values=value)


def _along(axis: int, values: np.ndarray) -> np.ndarray:
    return values.reshape([-1 if a == axis else 1 for a in range(4)])


def _slices(x: Array, geometry: Geometry, axis: int) -> list[Array]:
    return shifted(x, axis, geometry.window[axis - 1], geometry.stride[axis - 1])


def _plain_max_pool(x: Array, geometry: Geometry) -> Array:
    # The first row that holds the maximum, and in it the first column: row-major order, in kh + kw slices.
    x = first_max(_slices(_padded(x, geometry, -np.inf), geometry, 2))
    return first_max(_slices(x, geometry, 1))


def _plain_max_pool_with_places(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    columns = _slices(_padded(x, geometry, -np.inf), geometry, 2)
    places = _plain_places(geometry, 2, step=1)
    zero = jnp.zeros_like(columns[0], places[0].dtype)  # of the shape and the sharding of the outputs
    x, column = first_max_with_places(columns, [zero + place for place in places])
    rows = zip(_plain_places(geometry, 1, step=geometry.window[1]), _slices(column, geometry, 1), strict=True)
    return first_max_with_places(_slices(x, geometry, 1), [row + column for row, column in rows])


def _plain_places(geometry: Geometry, axis: int, step: int) -> list[Array]:
    """Multiples of `step`, to go with the slices along `axis`.

    Padding wins no comparison but is where it may start: what starts there stands for the first pixel of the window.
    """
    dtype = np.uint8 if math.prod(geometry.window) <= np.iinfo(np.uint8).max else np.int32
    low, window, stride = geometry.padding[axis - 1][0], geometry.window[axis - 1], geometry.stride[axis - 1]
    first = np.maximum(low - stride * np.arange(geometry.output[axis - 1]), 0) if low else np.zeros(1)
    places = [_along(axis, first), *np.arange(1, window)]
    return [jnp.asarray(np.asarray(step * place, dtype)) for place in places]


def _plain_read_at(image: Array, places: Array, geometry: Geometry) -> Array:
    image = _padded(image, geometry, 0.0)
    if places.dtype != np.uint8:
        return _gather(image, places, geometry)
    y = jnp.zeros_like(places, image.dtype)
    pixels = (pixel for row in _slices(image, geometry, 1) for pixel in _slices(row, geometry, 2))
    for place, pixel in enumerate(pixels):
        y = jnp.where(places == place, pixel, y)
    return y


def _gather(image: Array, places: Array, geometry: Geometry) -> Array:
    """Read entry by entry: for a window of so many places that a slice for each is too many."""
    n, height, width, c = image.shape
    rows, columns = [s * np.arange(size) for s, size in zip(geometry.stride, geometry.output, strict=True)]
    pixels = (_along(1, rows) + places // geometry.window[1]) * width + _along(2, columns) + places % geometry.window[1]
    y = jnp.take_along_axis(image.reshape(n, height * width, c), pixels.reshape(n, math.prod(geometry.output), c), 1)
    return y.reshape(places.shape)


def _plain_add_at(y: Array, places: Array, geometry: Geometry) -> Array:
    (kh, kw), nowhere = geometry.window, np.iinfo(places.dtype).max
    added = []
    rows = zip(_over(y, geometry, 1), _over(places, geometry, 1), strict=True)
    for (row, y_over), (_, places_over) in rows:
        columns = zip(_over(y_over, geometry, 2), _over(places_over, geometry, 2), strict=True)
        for (column, entries), (_, named) in columns:
            place = np.where((row < kh) & (column < kw), row * kw + column, nowhere).astype(places.dtype)
            added.append(jnp.where(named == place, entries, 0))
    return functools.reduce(operator.add, added)


def _over(y: Array, geometry: Geometry, axis: int) -> Iterator[tuple[np.ndarray, Array]]:
    """The windows over each pixel, first to last: where in the window the pixel lies along `axis`, and their entries.

    A place beyond the window says that fewer windows reach the pixel; entries beyond the last window are zero.
    """
    size, window, stride = geometry.size[axis - 1], geometry.window[axis - 1], geometry.stride[axis - 1]
    low = geometry.padding[axis - 1][0]
    deep, steps = -(-window // stride), -(-(low + size) // stride)
    ends = (deep - 1, max(steps - y.shape[axis], 0))
    y = jnp.pad(y, [ends if a == axis else (0, 0) for a in range(4)])
    within = _along(axis, np.arange(low, low + size) % stride)
    for back in reversed(range(deep)):
        first = deep - 1 - back
        entries = jnp.repeat(lax.slice_in_dim(y, first, first + steps, axis=axis), stride, axis)
        yield within + back * stride, lax.slice_in_dim(entries, low, low + size, axis=axis)


# Sum -----------------------------------------------------------------------------------------------------------------


def _plain_window_sum(x: Array, geometry: Geometry) -> Array:
    x = functools.reduce(operator.add, _slices(_padded(x, geometry, 0.0), geometry, 2))
    return functools.reduce(operator.add, _slices(x, geometry, 1))


def _plain_spread(y: Array, geometry: Geometry) -> Array:
    for axis in (1, 2):
        window = geometry.window[axis - 1]
        y = functools.reduce(
            operator.add,
            [
                entries if place.max(initial=0) < window else jnp.where(place < window, entries, 0)
                for place, entries in _over(y, geometry, axis)
            ],
        )
    return y


# Unpooling -----------------------------------------------------------------------------------------------------------


def _plain_put_mean(y: Array, switches: Array, size: tuple[int, int]) -> Array:
    n, _, _, c = y.shape
    total = _scattered(y, switches, size)
    return (total / jnp.maximum(_counted(switches, size, y.dtype), 1)).reshape(n, *size, c)


def _plain_take_mean(image: Array, switches: Array, size: tuple[int, int]) -> Array:
    n, h, w, c = image.shape
    share = image.reshape(n, h * w, c) / jnp.maximum(_counted(switches, size, image.dtype), 1)
    y = share.at[_pixels(switches)].get(mode="fill", fill_value=0, wrap_negative_indices=False)
    return y.reshape(switches.shape)


def _counted(switches: Array, size: tuple[int, int], dtype: Any) -> Array:
    return _scattered(jnp.ones(switches.shape, dtype), switches, size)


def _scattered(y: Array, switches: Array, size: tuple[int, int]) -> Array:
    n, oh, ow, c = y.shape
    empty = jnp.zeros((n, math.prod(size), c), y.dtype)
    return empty.at[_pixels(switches)].add(y.reshape(n, oh * ow, c), mode="drop", wrap_negative_indices=False)


def _pixels(switches: Array) -> tuple[Array, Array, Array]:
    n, oh, ow, c = switches.shape
    return jnp.arange(n)[:, None, None], switches.reshape(n, oh * ow, c), jnp.arange(c)


# Primitives ----------------------------------------------------------------------------------------------------------


def _native(target: str, *operands: Any, laned: tuple[bool, ...], geometry: Geometry) -> Call | None:
    """The kernels take lanes as more images: an operand without them is read again for every lane."""
    if operands[0].dtype not in (np.float32, np.float64):
        return None
    (top, _), (left, _) = geometry.padding
    numbers = [*geometry.size, *geometry.window, *geometry.stride, top, left, *geometry.output]
    return Call(target, {"numbers": np.array(numbers, np.int64)})


def _native_sum(target: str, *operands: Any, laned: tuple[bool, ...], geometry: Geometry) -> Call | None:
    """Windows that do not overlap are a reduction or a copy, which XLA does as fast as memory allows."""
    apart = all(step >= length for step, length in zip(geometry.stride, geometry.window, strict=True))
    return None if apart else _native(target, *operands, laned=laned, geometry=geometry)


def _native_unpooling(target: str, *operands: Any, laned: tuple[bool, ...], size: tuple[int, int]) -> Call | None:
    first, switches = operands
    if first.dtype not in (np.float32, np.float64):
        return None
    images = max(math.prod(x.shape[:-3]) for x in operands)
    tasks = min(images, UNPOOLING_TASKS)
    counts = tasks * math.prod(size) * switches.shape[-1]
    return Call(target, {"size": np.array(size, np.int64)}, 4 * max(counts, 1))


UNPOOLING_TASKS = 16
"""Into how many tasks unpooling is cut; each counts the entries of one image at a time."""


def _windowed(name: str, pure: Callable[..., Any], native: Callable[..., Any] = _native, results: int = 1) -> Any:
    return primitive(name, pure, functools.partial(native, name), results=results)


def _unpooling(name: str, pure: Callable[..., Any]) -> Any:
    return primitive(name, pure, functools.partial(_native_unpooling, name))


_max_pool = _windowed("max_pool", _plain_max_pool)
_max_pool_with_places = _windowed("max_pool_with_places", _plain_max_pool_with_places, results=2)
_read_at = _windowed("read_at", _plain_read_at)
_add_at = _windowed("add_at", _plain_add_at)
_window_sum = _windowed("window_sum", _plain_window_sum, _native_sum)
_spread = _windowed("spread", _plain_spread, _native_sum)
_put_mean = _unpooling("put_mean", _plain_put_mean)
_take_mean = _unpooling("take_mean", _plain_take_mean)


def _max_pool_jvp(primals: Any, tangents: Any, *, laned: tuple[bool], geometry: Geometry) -> tuple[Array, Array]:
    (y, _), (moved, _) = _max_pool_with_places_jvp(primals, tangents, laned=laned, geometry=geometry)
    return y, moved


def _max_pool_with_places_jvp(primals: Any, tangents: Any, *, laned: tuple[bool], geometry: Geometry) -> Any:
    y, places = apply(_max_pool_with_places, *primals, laned=laned, geometry=geometry)
    moved = apply(_read_at, *tangents, places, laned=laned * 2, geometry=geometry)
    return (y, places), (moved, _none_of(places))


def _none_of(value: Array) -> ad.Zero:
    return ad.Zero(jax.typeof(value).to_tangent_aval())


def _linear_jvp(prim: Any, primals: Any, tangents: Any, **params: Any) -> tuple[Array, Any]:
    """All that follow their first operand linearly; places and switches have no tangents."""
    y = apply(prim, *primals, **params)
    tangent = tangents[0]
    if isinstance(tangent, ad.Zero):
        return y, _none_of(y)
    return y, apply(prim, tangent, *primals[1:], **params)


def _transposed(prim: Any, ct: Any, operand: Any, *others: Any, laned: tuple[bool, ...], **params: Any) -> list[Any]:
    """By the transpose `prim`; an operand that all lanes share adds up over them."""
    if isinstance(ct, ad.Zero):
        return [ad.Zero(operand.aval), *(None for _ in others)]
    back = apply(prim, ct, *others, laned=(any(laned), *laned[1:]), **params)
    return [back.sum(0) if any(laned) and not laned[0] else back, *(None for _ in others)]


ad.primitive_jvps[_max_pool] = _max_pool_jvp
ad.primitive_jvps[_max_pool_with_places] = _max_pool_with_places_jvp
for _one, _other in ((_read_at, _add_at), (_window_sum, _spread), (_put_mean, _take_mean)):
    for _prim, _transpose in ((_one, _other), (_other, _one)):
        ad.primitive_jvps[_prim] = functools.partial(_linear_jvp, _prim)
        ad.primitive_transposes[_prim] = functools.partial(_transposed, _transpose)
