"""Receptive fields of any traced function of images: which pixels the entries of its results depend on.

A chain of convolutions needs three numbers (`functional.shapes.receptive_field`). In a graph with branches, skips and
transposed convolutions the extent may differ from entry to entry, but it repeats: along each axis of the image, entry
``i + period`` reads what entry i reads, some pixels further. Such a rule goes through every operation exactly, and
beyond the borders as well, where padding stands for pixels.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jax231.core.types import PyTree

Shape = tuple[int, ...]

Pixel = int | float
"""The place of a pixel, or an infinity where there is none."""


class Field(NamedTuple):
    """Along one axis: an entry sees at most `size` pixels, its neighbour those `stride` further, 0 for the same.

    Behind layers that enlarge the image the stride may be a fraction, and entries may see sizes below the largest.
    """

    size: int
    stride: int | Fraction


def receptive_fields(fun: Callable[..., Any], inputs: PyTree, *others: PyTree) -> list[tuple[Field, Field] | None]:
    """For each array that ``fun(inputs, *others)`` returns, along height and width; None where it sees no image.

    Images are the arrays (n, h, w, c) of `inputs`; all arguments are arrays or their shapes and types. What an entry
    sees reaches from the first to the last pixel it depends on by any path. Behind a sum over an axis, as in a
    flattened image, all entries see the same pixels of it. An operation of which it is not known which entries it
    reads couples all of them.

    Source: Araujo et al. 2019 (doi:10.23915/distill.00021) for graphs without enlargement.
    """
    jaxpr = jax.make_jaxpr(fun)(inputs, *others).jaxpr
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(inputs)]
    images = [shape if len(shape) == 4 else None for shape in shapes] + [None] * (len(jaxpr.invars) - len(shapes))
    fields = []
    for axis in (1, 2):
        start = [None if image is None else _Reach(axis, (0,), (0,), 1) for image in images]
        size = max((image[axis] for image in images if image is not None), default=0)
        fields.append([reach and reach.field for reach in _Axis(size).outputs(jaxpr, start)])
    return [(rows, columns) if rows and columns else None for rows, columns in zip(*fields, strict=True)]


class _Reach(NamedTuple):
    """Entry i of axis `dim` sees the pixels ``low[i % p] + step * (i // p)`` to ``high`` likewise, with p = len(low).

    Where `dim` is None all entries see the same pixels. Low above high says that an entry sees none.
    """

    dim: int | None
    low: tuple[Pixel, ...]
    high: tuple[Pixel, ...]
    step: int = 0

    def over(self, places: Iterable[int]) -> tuple[Pixel, Pixel]:
        """First and last pixel that the entries at `places` see."""
        turns = [divmod(i, len(self.low)) for i in places]
        low = min((self.low[place] + self.step * turn for turn, place in turns), default=math.inf)
        return low, max((self.high[place] + self.step * turn for turn, place in turns), default=-math.inf)

    def mapped(self, dim: int, places: Callable[[int], Iterable[int]], stride: int = 1, factor: int = 1) -> "_Reach":
        """Of an array whose entry i of axis `dim` is made of the entries `places(i)`, about ``i * stride / factor``."""
        longer = len(self.low) * factor
        period = longer // math.gcd(longer, stride)
        low, high = zip(*(self.over(places(i)) for i in range(period)), strict=True)
        return _Reach(dim, low, high, self.step * period * stride // longer)

    def cut(self, dim: int, block: int) -> "_Reach":
        """Of an array whose entry i of axis `dim` is made of a whole block of entries."""
        return self.mapped(dim, lambda i: range(i * block, (i + 1) * block), block)

    def repeated(self, dim: int, factor: int) -> "_Reach":
        """Of an array whose axis `dim` has each entry so many times."""
        return self.mapped(dim, lambda i: [i // factor], factor=factor)

    @property
    def field(self) -> Field:
        size = max(high - low for low, high in zip(self.low, self.high, strict=True)) + 1
        stride = Fraction(self.step, len(self.low))
        return Field(max(int(size), 0), int(stride) if stride.denominator == 1 else stride)


class _Axis:
    """One axis of images of so many pixels."""

    def __init__(self, size: int):
        self.size = size

    def outputs(self, jaxpr: Any, given: Sequence[_Reach | None]) -> list[_Reach | None]:
        """What the results of `jaxpr` see where its arguments see what is `given`."""
        known = dict(zip(jaxpr.invars, given, strict=True))

        def seen(atom: Any) -> _Reach | None:
            return None if hasattr(atom, "val") else known.get(atom)  # literals and constants see nothing

        for equation in jaxpr.eqns:
            reaches = [seen(atom) for atom in equation.invars]
            known.update(zip(equation.outvars, self.results(equation, reaches), strict=True))
        return [seen(atom) for atom in jaxpr.outvars]

    def results(self, equation: Any, reaches: list[_Reach | None]) -> Sequence[_Reach | None]:
        """What the results of one equation see."""
        shapes, made = [atom.aval.shape for atom in equation.invars], [var.aval.shape for var in equation.outvars]
        name, params = equation.primitive.name, equation.params
        if not any(reaches):
            return [None] * len(made)
        if name == "cond":
            branches = [self.outputs(branch.jaxpr, reaches[1:]) for branch in params["branches"]]
            return [self.hull(each, shape) for *each, shape in zip(*branches, made, strict=True)]
        inner = _programs(params)
        if len(inner) == 1 and name not in LOOPS and len(inner[0].invars) == len(reaches):
            return self.outputs(inner[0], reaches)
        rule = RULES.get(name) or (_entry if not name.startswith(COUPLING) else _unknown)
        passed: list[_Reach] = []
        for place, reach in enumerate(reaches):
            if reach is not None:
                dim, shape = reach.dim, shapes[place]
                through = reach if dim is None else rule(_Operand(reach, dim, place, shapes, made[0], params))
                passed.append(through or self.all_of(reach, shape))
        return [self.hull(passed, made[0]) if math.prod(shape) else None for shape in made]

    def all_of(self, reach: _Reach, shape: Shape) -> _Reach:
        """What all entries of an array together see of the image."""
        if reach.dim is None:
            return reach
        low, high = reach.over(range(shape[reach.dim]))
        return _Reach(None, (max(low, 0),), (min(high, self.size - 1),))

    def hull(self, reaches: Sequence[_Reach | None], shape: Shape) -> _Reach | None:
        """What entries see that are made of entries, at the same places, of several arrays of this shape."""
        some = [reach for reach in reaches if reach is not None and reach != _NOTHING]
        if not some:
            return None
        if len({(reach.dim, Fraction(reach.step, len(reach.low))) for reach in some}) > 1:
            some = [self.all_of(reach, shape) for reach in some]
        period = math.lcm(*(len(reach.low) for reach in some))
        ends = [[reach.over([i]) for reach in some] for i in range(period)]
        low, high = (tuple(pick(end[side] for end in each) for each in ends) for side, pick in ((0, min), (1, max)))
        return _Reach(some[0].dim, low, high, some[0].step * period // len(some[0].low))


class _Operand(NamedTuple):
    """An operand that sees the image along its axis `dim`, and the operation that reads it."""

    reach: _Reach
    dim: int
    place: int
    shapes: Sequence[Shape]
    result: Shape
    params: Any

    @property
    def size(self) -> int:
        """Entries along the axis."""
        return self.shapes[self.place][self.dim]


def _unknown(x: _Operand) -> None:
    del x


def _entry(x: _Operand) -> _Reach | None:
    return x.reach if x.shapes[x.place] == x.result else None


def _geometry(x: _Operand) -> tuple[int, int, int, int] | None:
    """Window, stride, dilation and padding in front, along the axis of an image (n, h, w, c) that is not a kernel."""
    geometry, number = x.params["geometry"], x.dim - 1
    if x.place or number not in (0, 1) or len(x.result) != 4:
        return None
    padding, _ = geometry.padding[number]
    return geometry.window[number], geometry.stride[number], geometry.dilation[number], padding


def _window(x: _Operand) -> _Reach | None:
    if (sizes := _geometry(x)) is None:
        return None
    window, stride, dilation, low = sizes
    extent = (window - 1) * dilation + 1
    return x.reach.mapped(x.dim, lambda i: range(i * stride - low, i * stride - low + extent, dilation), stride)


def _window_transposed(x: _Operand) -> _Reach | None:
    if (sizes := _geometry(x)) is None:
        return None
    window, stride, dilation, low = sizes

    def places(i: int) -> list[int]:
        offsets = [i + low - dilation * a for a in range(window)]
        return [offset // stride for offset in offsets if offset % stride == 0]

    return x.reach.mapped(x.dim, places, factor=stride)


def _convolution(x: _Operand) -> _Reach | None:
    return {"output": _window, "input": _window_transposed}.get(x.params["role"], lambda _: None)(x)


def _unpool(x: _Operand) -> _Reach | None:
    """An entry lies anywhere in the block of pixels that it came from."""
    factor = -(-x.params["size"][x.dim - 1] // x.size) if x.dim in (1, 2) else 0
    return x.reach.repeated(x.dim, factor) if factor else None


def _transpose(x: _Operand) -> _Reach:
    return x.reach._replace(dim=x.params["permutation"].index(x.dim))


def _broadcast(x: _Operand) -> _Reach | None:
    dim = x.params["broadcast_dimensions"][x.dim]
    return x.reach._replace(dim=dim) if x.result[dim] == x.size else None


def _without(x: _Operand, axes: Sequence[int]) -> _Reach | None:
    return None if x.dim in axes else x.reach._replace(dim=x.dim - sum(axis < x.dim for axis in axes))


def _squeeze(x: _Operand) -> _Reach | None:
    return _without(x, x.params["dimensions"])


def _reduce(x: _Operand) -> _Reach | None:
    return _without(x, x.params["axes"])


def _reshape(x: _Operand) -> _Reach | None:
    """The axis stays, or is cut into blocks, or is merged with axes behind it."""
    shape, result = x.shapes[x.place], x.result
    before, rest = math.prod(shape[: x.dim]), shape[x.dim + 1 :]
    starts = [axis for axis in range(len(result)) if math.prod(result[:axis]) == before]
    # One of the same size if there is, and among axes of size 1 the nearest.
    for axis in sorted(starts, key=lambda axis: (result[axis] != x.size, abs(axis - x.dim))):
        size = result[axis]
        if size == x.size or (size > 1 and x.size % size == 0):
            return x.reach.cut(axis, x.size // size)
        if size % x.size == 0 < size and size // x.size in [math.prod(rest[:count]) for count in range(len(rest) + 1)]:
            return x.reach.repeated(axis, size // x.size)
    return None


def _pad(x: _Operand) -> _Reach:
    low, _, between = map(int, x.params["padding_config"][x.dim])
    factor = between + 1
    return x.reach.mapped(x.dim, lambda i: [] if (i - low) % factor else [(i - low) // factor], factor=factor)


def _slice(x: _Operand) -> _Reach:
    start, stride = x.params["start_indices"][x.dim], (x.params["strides"] or (1,) * len(x.result))[x.dim]
    return x.reach.mapped(x.dim, lambda i: [start + i * stride], stride)


def _concatenate(x: _Operand) -> _Reach | None:
    """Along the axis of the image what is joined to the largest part counts as its border."""
    along = x.params["dimension"]
    if along != x.dim:
        return x.reach
    sizes = [shape[along] for shape in x.shapes]
    largest = sizes.index(max(sizes))
    if x.place != largest:
        return _NOTHING
    offset = sum(sizes[:largest])
    return x.reach.mapped(x.dim, lambda i: [i - offset])


def _stack(x: _Operand) -> _Reach:
    return x.reach._replace(dim=x.dim + (x.params["axis"] <= x.dim))


def _split(x: _Operand) -> _Reach | None:
    return x.reach if x.params["axis"] != x.dim else None


def _dot(x: _Operand) -> _Reach | None:
    contracted, batch = (pair[x.place] for pair in x.params["dimension_numbers"])
    if x.dim in contracted:
        return None
    if x.dim in batch:
        return x.reach._replace(dim=batch.index(x.dim))
    free = [axis for axis in range(len(x.shapes[x.place])) if axis not in (*contracted, *batch)]
    first = len(batch) if x.place == 0 else len(x.result) - len(free)
    return x.reach._replace(dim=first + free.index(x.dim))


_NOTHING = _Reach(None, (math.inf,), (-math.inf,))

RULES: dict[str, Callable[[_Operand], _Reach | None]] = {
    "jax231_convolution": _convolution,
    "jax231_max_pool": _window,
    "jax231_max_pool_with_places": _window,
    "jax231_window_sum": _window,
    "jax231_put_mean": _unpool,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze,
    "reshape": _reshape,
    "pad": _pad,
    "slice": _slice,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "dot_general": _dot,
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin"), _reduce),
}
"""What becomes of an operand's reach, by the name of the operation; None where each entry reads all of the operand."""

LOOPS = ("scan", "while")
COUPLING = ("jax231", "cum", "sort", "top_k", "rev", "gather", "scatter", "dynamic", "fft", "conv_general", *LOOPS)
"""Beginnings of the names of other operations that do not work entry by entry."""


def _programs(params: Any) -> list[Any]:
    """The programs among the parameters of an equation, closed over constants or not."""
    programs = [getattr(value, "jaxpr", value) for value in params.values()]
    return [program for program in programs if hasattr(program, "eqns")]
