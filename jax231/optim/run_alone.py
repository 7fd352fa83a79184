"""The whole of one run as one program, compiled the way that suits its size."""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax231.core import one_function, packing
from jax231.core.types import PyTree
from jax231.optim.result import Result, Status
from jax231.optim.run import Limits, Program, parts


def run_alone(program: Program, x0: PyTree, args: tuple[Any, ...], limits: Limits) -> Result:
    """The run from `x0`, compiled once for a `program` and the shapes of the rest; a small one as one function.

    The numbers of a small one's result are NumPy's: they come from the device as one array, in a tenth of the time that
    as many arrays take.
    """
    if one_function.at_top():
        form = small_form(program, x0, args, limits)
        if form is not None:
            gtol, ftol, most = map(_on_device, limits[:3])
            arrays, packed = small(program, x0, args, Limits(gtol, ftol, most, limits.bounds))
            structure, types = form
            numbers = structure.unflatten(packing.unpacked(np.asarray(packed), types))
            return numbers._replace(**arrays)
    return plain(program, x0, args, limits)


@partial(jax.jit, static_argnums=0)
def plain(program: Program, x0: PyTree, args: tuple[Any, ...], limits: Limits) -> Result:
    """The run in kernels."""
    start, step, result = parts(program, x0, args, limits)
    return result(jax.lax.while_loop(lambda run: run.status == Status.RUNNING, step, start(x0)))


ARRAYS = ("x", "history", "aux")
"""The fields of a result that are no numbers."""


@partial(jax.jit, static_argnums=0, compiler_options=dict(one_function.OPTIONS))
def small(
    program: Program, x0: PyTree, args: tuple[Any, ...], limits: Limits
) -> tuple[dict[str, PyTree], Float[Array, " numbers"]]:
    """The arrays of the run's result and its numbers, by one function."""
    return one_function.mark(_packed(program, x0, args, limits))


@partial(jax.jit, static_argnums=0)
def _packed(program: Program, x0: PyTree, args: tuple[Any, ...], limits: Limits) -> Any:
    result = plain(program, x0, args, limits)
    return {name: getattr(result, name) for name in ARRAYS}, packing.packed(jax.tree.leaves(_numbers(result)))


def _numbers(result: Result) -> Result:
    return result._replace(x=None, history=None, aux=None)


Form = tuple[Any, list[np.dtype]]
"""The structure of the numbers of a result, and their types."""

_FORMS: dict[Any, Form | None] = {}
_ROOM = 512


def small_form(program: Program, x0: PyTree, args: tuple[Any, ...], limits: Limits) -> Form | None:
    """The form of the result of a run that is better compiled as one function, None for others.

    Looked at once for a program and shapes; the last `_ROOM` answers are kept.
    """
    settings: Any = jax.config
    leaves, structure = jax.tree.flatten((x0, args, limits))
    kinds = [(getattr(leaf, "shape", None), getattr(leaf, "dtype", type(leaf))) for leaf in leaves]
    key = program, structure, tuple(kinds), settings.jax_enable_x64
    if key not in _FORMS:
        if len(_FORMS) >= _ROOM:
            _FORMS.pop(next(iter(_FORMS)))
        _FORMS[key] = _look(program, x0, args, limits)
    return _FORMS[key]


def _look(program: Program, x0: PyTree, args: tuple[Any, ...], limits: Limits) -> Form | None:
    if jax.default_backend() != "cpu" or jax.device_count() > 1:
        return None
    traced, result = jax.make_jaxpr(partial(plain, program), return_shape=True)(x0, args, limits)
    numbers, structure = jax.tree.flatten(_numbers(result))
    types = [number.dtype for number in numbers]
    return (structure, types) if packing.packable(types) and one_function.fits(traced.jaxpr) else None


@functools.lru_cache(maxsize=512, typed=True)
def _kept(number: Any, wide: bool, device: Any) -> Array:
    return jnp.asarray(number)


def _on_device(number: Any) -> Any:
    """A Python number as an array that lies on the device already."""
    if not isinstance(number, int | float):
        return number
    settings: Any = jax.config
    return _kept(number, settings.jax_enable_x64, settings.jax_default_device)
