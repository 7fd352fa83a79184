"""Errors for the caller: where, what was expected, what was seen.

Shapes are static, so a check costs nothing after compilation. Values are checked where they are concrete and left alone
where they are traced. Importing this module does not import JAX, so that the command line answers at once.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def is_concrete(x: Any) -> bool:
    """Whether the value of `x` can be looked at now (False for a traced array)."""
    jax = sys.modules.get("jax")  # where JAX was never imported nothing is traced
    return jax is None or not isinstance(x, jax.core.Tracer)


def describe(value: Any) -> str:
    """An array as dtype and shape, a dict by its keys, anything else as it prints."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        shape = tuple(value.shape)
        if shape == () and is_concrete(value):
            return str(value)
        return str(shape)
    if isinstance(value, dict):
        return "{" + ", ".join(map(repr, value)) + "}"
    return repr(value)


def require(condition: bool, where: str, expected: str, **seen: Any) -> None:
    """Raise ``ValueError("where: expected ...; got x=(2, 7), pieces=3")`` unless `condition` holds."""
    if not condition:
        raise ValueError(
            f"{where}: expected {expected}; got " + ", ".join(f"{k}={describe(v)}" for k, v in seen.items())
        )


def require_rank(where: str, rank: int, letters: str, **arrays: Any) -> None:
    """Every array has `rank` axes; `letters` names them in the message ("n h w c")."""
    for name, x in arrays.items():
        require(np.ndim(x) == rank, where, f"{name} with {rank} axes ({letters})", **{name: x})


def require_floating(where: str, **arrays: Any) -> None:
    """Every array has a floating type: a result in the type of an integer input would be cut to whole numbers."""
    import jax.numpy as jnp

    for name, x in arrays.items():
        dtype = jnp.result_type(x)
        require(jnp.issubdtype(dtype, jnp.floating), where, f"{name} of a floating type", **{name: x}, dtype=str(dtype))


def require_rate(where: str, name: str, rate: Any) -> None:
    """A share within [0, 1]; arrays of rates are checked entry by entry, traced ones not at all."""
    _require_each(where, "within [0, 1]", lambda x: (x >= 0) & (x <= 1), {name: rate})


def require_nonnegative(where: str, **numbers: Any) -> None:
    """Numbers of at least 0, arrays entry by entry; traced ones and schedules (callables) are not looked at."""
    _require_each(where, "of at least 0", lambda x: x >= 0, numbers)


def require_positive(where: str, **numbers: Any) -> None:
    """Numbers above 0, arrays entry by entry; traced ones and schedules (callables) are not looked at."""
    _require_each(where, "above 0", lambda x: x > 0, numbers)


def _require_each(where: str, expected: str, holds: Callable[[Any], Any], numbers: Mapping[str, Any]) -> None:
    for name, number in numbers.items():
        if isinstance(number, int | float):  # without NumPy in a hundredth of its time
            require(bool(holds(number)), where, f"{name} {expected}", **{name: number})
        elif is_concrete(number) and not callable(number):
            require(bool(np.all(holds(np.asarray(number)))), where, f"{name} {expected}", **{name: number})


def require_labels(where: str, labels: Any, classes: int, name: str = "labels") -> None:
    """Integer class labels within [0, classes); the range is checked where the values are concrete."""
    import jax.numpy as jnp

    dtype = jnp.result_type(labels)
    require(
        jnp.issubdtype(dtype, jnp.integer),
        where,
        f"{name} of an integer type, one class index an example (not one-hot)",
        **{name: labels, "dtype": str(dtype)},
    )
    if is_concrete(labels) and np.size(labels):
        values = np.asarray(labels)  # the reductions of a jax array would be traced inside jit
        low, high = int(values.min()), int(values.max())
        require(low >= 0 and high < classes, where, f"{name} within [0, {classes})", smallest=low, largest=high)
