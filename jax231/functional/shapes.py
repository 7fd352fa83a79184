"""Sizes of convolutions and poolings along one axis, and how much of the image an output sees."""

import operator
from collections.abc import Sequence
from typing import NamedTuple

from jax231.core.checks import require

Pair = int | Sequence[int]
"""One integer for both image axes, or (height, width)."""

AxisPadding = str | int | Sequence[int]
"""Along one axis: "SAME", "VALID", an integer for both ends, or (before, after)."""

Padding = str | int | Sequence[int | Sequence[int]]
"""Of an image: "SAME", "VALID", an integer for all four sides, or ((top, bottom), (left, right))."""


class ReceptiveField(NamedTuple):
    """Output i reads the pixels ``i * stride - padding`` up to ``i * stride - padding + size - 1``."""

    size: int
    stride: int
    padding: int


def conv_output_size(
    size: int, window: int, stride: int = 1, padding: AxisPadding = 0, dilation: int = 1, *, where="conv_output_size"
) -> int:
    """Number of window positions, the course's (W - F + 2P) / S + 1 rounded down.

    F is the window's extent ``(window - 1) * dilation + 1``; "SAME" gives ceil(W / S), "VALID" is P = 0.

    Raises: ValueError where the window is larger than the padded image or a number is out of range.
    """
    low, high = axis_padding(size, window, stride, padding, dilation, where=where)
    extent = (window - 1) * dilation + 1
    require(
        extent <= size + low + high,
        where,
        "a window that fits into the padded image",
        size=size, window=window, dilation=dilation, padding=(low, high),
    )  # fmt: skip
    return (size + low + high - extent) // stride + 1


def conv_transpose_output_size(
    size: int,
    window: int,
    stride: int = 1,
    padding: AxisPadding = 0,
    dilation: int = 1,
    *,
    where="conv_transpose_output_size",
) -> int:
    """An image size that a convolution maps to `size`: ``stride * size`` for "SAME", else the smallest one.

    Raises: ValueError where no image has that size after the convolution or a number is out of range.
    """
    low, high = axis_padding(size, window, stride, padding, dilation, where=where)
    if padding == "SAME":
        return stride * size
    largest = size * stride + (window - 1) * dilation - low - high
    require(
        largest >= 1,
        where,
        "a padding that leaves room for an image",
        size=size, window=window, stride=stride, padding=(low, high), dilation=dilation,
    )  # fmt: skip
    return max(1, largest - stride + 1)


def receptive_field(layers: Sequence[Sequence[int]]) -> ReceptiveField:
    """What one output of a chain of convolutions and poolings sees along one axis of the image.

    Each layer is (window, stride, dilation, padding), first layer first; what is left out on the right is 1, 1 and 0.
    Every layer widens the field by its extent minus one, counted in steps of the strides before it:
    ``size += (window - 1) * dilation * jump; padding += layer's padding * jump; jump *= stride``. Three 3x3 layers
    see 7x7, as one 7x7 layer.

    Raises: ValueError for a layer of other than 1 to 4 numbers, or one that is out of range.
    Source: CS231n notes, convolutional-networks; Araujo et al. 2019 (doi:10.23915/distill.00021).
    """
    size, jump, offset = 1, 1, 0
    for number, layer in enumerate(layers):
        where = f"receptive_field, layer {number}"
        require(1 <= len(layer) <= 4, where, "(window, stride, dilation, padding)", layer=layer)
        window, stride, dilation, padding = (*layer, *(1, 1, 0)[len(layer) - 1 :])
        axis_padding(1, window, stride, padding, dilation, where=where)
        size += (window - 1) * dilation * jump
        offset += padding * jump
        jump *= stride
    return ReceptiveField(size, jump, offset)


def axis_padding(
    size: int, window: int, stride: int, padding: AxisPadding, dilation: int, *, where: str = "axis_padding"
) -> tuple[int, int]:
    """Zeros before and after; "SAME" puts the odd one after, as XLA and TensorFlow do.

    Raises: ValueError unless size, window, stride and dilation are at least 1 and the padding is one of the forms.
    """
    for name, value in {"size": size, "window": window, "stride": stride, "dilation": dilation}.items():
        require(operator.index(value) >= 1, where, f"{name} of at least 1", **{name: value})
    if padding == "VALID":
        return 0, 0
    if padding == "SAME":
        total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
        return total // 2, total - total // 2
    form = 'padding as "SAME", "VALID", or integers of at least 0, one for both ends or (before, after)'
    if isinstance(padding, str):
        raise ValueError(f"{where}: expected {form}; got padding={padding!r}")
    ends = tuple(padding) if isinstance(padding, Sequence) else (padding, padding)
    require(len(ends) == 2 and all(operator.index(p) >= 0 for p in ends), where, form, padding=padding)
    return ends[0], ends[1]


def image_pair(value: Pair, name: str, *, where: str) -> tuple[int, int]:
    """(height, width) from one integer or two; they must be at least 1."""
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    fits = len(pair) == 2 and all(operator.index(v) >= 1 for v in pair)
    require(fits, where, f"{name} as an integer of at least 1 or two of them", **{name: value})
    return pair[0], pair[1]


def image_padding(
    size: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int] = (1, 1),
    *,
    where: str,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) from any form of padding, for images of `size` (h, w)."""
    if isinstance(padding, str | int):
        both = (padding, padding)
    else:
        fits = len(padding) == 2 and all(isinstance(ends, Sequence) for ends in padding)
        require(fits, where, "padding of an image as ((top, bottom), (left, right))", padding=padding)
        both = tuple(padding)
    axes = zip(size, window, stride, both, dilation, strict=True)
    rows, columns = [axis_padding(n, w, s, p, d, where=where) for n, w, s, p, d in axes]
    return rows, columns
