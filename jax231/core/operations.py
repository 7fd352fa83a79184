"""How many floating-point operations a function takes, by what it consists of."""

import math
from collections.abc import Callable
from typing import Any

import jax


def operations(fun: Callable[..., Any], *arguments: Any) -> int:
    """Multiplications and additions of one call, by a walk over its trace; nothing is compiled or run.

    Matrix products and convolutions count as two for each pair of factors, everything else as one for each entry of its
    results. The body of a ``scan`` counts as often as it runs, that of a ``while_loop`` once, the dearest branch of a
    conditional. Arguments may be arrays, or shapes and types.
    """
    return _of_jaxpr(jax.make_jaxpr(fun)(*arguments).jaxpr)


def _of_jaxpr(jaxpr: Any) -> int:
    return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    size = sum(math.prod(getattr(x.aval, "shape", ())) for x in equation.outvars)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2 * size * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        return 2 * size * math.prod(kernel) // kernel[params["dimension_numbers"].rhs_spec[0]]
    inner = [_of_jaxpr(jaxpr) for value in params.values() for jaxpr in programs(value)]
    if not inner:
        return size
    return max(inner) if name == "cond" else params.get("length", 1) * sum(inner) if name == "scan" else sum(inner)


def programs(value: Any) -> list[Any]:
    """The programs in a parameter of an equation: itself, closed over constants or not, or several."""
    if isinstance(value, tuple | list):
        return [jaxpr for part in value for jaxpr in programs(part)]
    value = getattr(value, "jaxpr", value)
    return [value] if hasattr(value, "eqns") else []
