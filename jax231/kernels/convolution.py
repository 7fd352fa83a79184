"""The convolution family: three bilinear maps, closed under differentiation and transposition, as one primitive.

Image x, kernel k and output y of a convolution meet in one trilinear form, ``<convolution(x, k), y>``. Its derivative
by any of the three is a bilinear map of the other two: the output is ``convolution(x, k)``, the image ``k^T y`` (the
input gradient and the transpose convolution), the kernel ``x^T y`` (the kernel gradient). Differentiating or
transposing one of these maps gives another of the three, so that grad, jvp, hvp and any nesting of them stay inside the
family and run its fast forms.

A `vmap` over images or outputs alone goes into the batch; over kernels, it becomes lanes (`jax231.kernels.primitive`),
never a grouped convolution.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.interpreters import ad, batching

from jax231.core.precision import statistics_dtype
from jax231.kernels import convolution_plain as forms
from jax231.kernels import native as compiled
from jax231.kernels.geometry import Geometry
from jax231.kernels.primitive import Call, apply, batch_by_lanes, primitive

Role = Literal["output", "input", "kernel"]
"""Which of the three a map computes."""

OPERANDS: dict[Role, tuple[Role, Role]] = {
    "output": ("input", "kernel"),
    "input": ("output", "kernel"),
    "kernel": ("input", "output"),
}
"""What each map computes it from, in this order."""


def convolve(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolution of x (n, h, w, groups * cin) with a kernel (kh, kw, cin, cout).

    Narrow types (bfloat16, float16) are accumulated in float32 and given back narrow.
    """
    return _bind("output", x, kernel, geometry)


def convolve_transposed(y: Array, kernel: Array, geometry: Geometry) -> Array:
    """The transpose of ``x -> convolve(x, kernel, geometry)``: y (n, oh, ow, cout) -> (n, h, w, groups * cin)."""
    return _bind("input", y, kernel, geometry)


def _bind(role: Role, a: Array, b: Array, geometry: Geometry) -> Array:
    dtype = jnp.result_type(a, b)
    return apply(convolution, a.astype(dtype), b.astype(dtype), role=role, geometry=geometry)


PLAIN = {"output": forms.output_of, "input": forms.image_of, "kernel": forms.kernel_of}
STOCK = {"output": forms.stock_output, "input": forms.stock_image, "kernel": forms.stock_kernel}


def _plain(a: Array, b: Array, *, role: Role, geometry: Geometry, laned: tuple[bool, bool] = (False, False)) -> Array:
    """The form for a CPU, lane by lane, since a `vmap` would make a grouped convolution.

    Of narrow types it is the primitive in float32, so that they have the compiled kernels too.
    """
    wide = statistics_dtype(a.dtype)
    if a.dtype != wide:
        a_wide, b_wide = a.astype(wide), b.astype(wide)
        return apply(convolution, a_wide, b_wide, laned=laned, role=role, geometry=geometry).astype(a.dtype)
    if any(laned):
        return forms.in_turn(PLAIN[role])(a, b, geometry=geometry, laned=laned)
    return PLAIN[role](a, b, geometry)


def _stock(a: Array, b: Array, *, role: Role, geometry: Geometry) -> Array:
    return STOCK[role](a, b, geometry)


def _native(a: Any, b: Any, *, laned: tuple[bool, bool], role: Role, geometry: Geometry) -> Call | None:
    suffix = {"float32": "f32", "float64": "f64"}.get(str(a.dtype))
    if suffix is None:
        return None
    shapes = [x.shape[1:] if lane else x.shape for x, lane in zip((a, b), laned, strict=True)]
    shape = dict(zip(OPERANDS[role], shapes, strict=True))
    lanes = next((x.shape[0] for x, lane in zip((a, b), laned, strict=True) if lane), 1)
    n = shapes[0][0]
    cin = shape["kernel"][2] if "kernel" in shape else shape["input"][3] // geometry.groups
    cout = shape["kernel"][3] if "kernel" in shape else shape["output"][3]
    low = [ends[0] for ends in geometry.padding]
    numbers = [
        *(lanes, *laned, n, *geometry.size, cin, cout, *geometry.window, *geometry.output),
        *(*geometry.stride, *low, *geometry.dilation, geometry.groups),
    ]
    numbers = np.array(numbers, np.int64)
    workspace = compiled.workspace(f"conv_{role}", numbers, a.dtype.itemsize)
    return Call(f"conv_{role}_{suffix}", {"geometry": numbers}, workspace)


convolution = primitive("convolution", _plain, _native, stock=_stock, mapped=_plain)


def _transpose(place: int, ct: Any, a: Any, b: Any, *, laned: tuple[bool, bool], role: Role, geometry: Geometry):
    """The map by its operand at `place`: that one is computed, from the cotangent and the other operand."""
    wanted, other = OPERANDS[role][place], OPERANDS[role][1 - place]
    given = {role: (ct, any(laned)), other: ((a, b)[1 - place], laned[1 - place])}
    summed = any(laned) and not laned[place]
    if summed and wanted == "kernel":  # a sum over lanes is one over a larger batch
        given = {name: (x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), False) for name, (x, _) in given.items()}
        summed = False
    (first, first_laned), (second, second_laned) = (given[name] for name in OPERANDS[wanted])
    lanes = (first_laned, second_laned)
    result = apply(convolution, first, second, laned=lanes, role=wanted, geometry=geometry)
    return result.sum(0) if summed else result


ad.defbilinear(convolution, functools.partial(_transpose, 0), functools.partial(_transpose, 1))


def _batch(operands: Sequence[Any], dims: Sequence[Any], *, laned: tuple[bool, bool], role: Role, geometry: Geometry):
    """Into the batch where the mapped operand and the result both have one, else as lanes."""
    if role == "kernel" or dims[1] is not None:  # the second operand of the others is the kernel
        return batch_by_lanes(convolution, operands, dims, laned=laned, role=role, geometry=geometry)
    x, front, front_of_result = jnp.moveaxis(operands[0], dims[0], int(laned[0])), int(laned[0]), int(any(laned))
    folded = x.reshape(*x.shape[:front], x.shape[front] * x.shape[front + 1], *x.shape[front + 2 :])
    y = apply(convolution, folded, operands[1], laned=laned, role=role, geometry=geometry)
    both = x.shape[front : front + 2]
    return y.reshape(*y.shape[:front_of_result], *both, *y.shape[front_of_result + 1 :]), front_of_result


batching.primitive_batchers[convolution] = _batch
