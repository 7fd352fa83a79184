"""The objective as an optimizer is handed it: checked, hidden, or changed."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from jax231.core.checks import require
from jax231.core.types import PyTree

LOSSES = ("value_fn", "overlap_fn", "curvature_fn")
"""The extra arguments of ``update`` that are losses as functions of the parameters."""

FUNCTIONS = (*LOSSES, "outputs_fn", "per_example_fn")
"""All of them that are functions of the parameters."""


def require_scalar(where: str, value: Any, of_a_pair: str = "value_fn=lambda p: fun(p)[0]") -> None:
    """`value` is a loss, or its shape and type: one number of a floating type, and nothing beside it.

    Raises: ValueError naming what was returned, with the way out, `of_a_pair`, where it is a pair of a loss and aux.
    """
    alone = not isinstance(value, tuple | list | dict)
    expected = f"an objective that returns the loss alone (of a pair: {of_a_pair})"
    require(alone, where, expected, returned=type(value).__name__)
    one = jnp.shape(value) == () and jnp.issubdtype(jnp.result_type(value), jnp.floating)
    require(one, where, "a loss that is one floating number", loss=value, dtype=str(jnp.result_type(value)))


def scalar(where: str, fun: Callable[..., Any]) -> Callable[..., Any]:
    """`fun` with its result checked by `require_scalar`, which costs nothing after tracing."""

    def checked(*arguments: Any) -> Any:
        value = fun(*arguments)
        require_scalar(where, value)
        return value

    return checked


def seen_through(extra: Mapping[str, Any], view: Callable[[PyTree], PyTree]) -> dict[str, Any]:
    """The extra arguments of ``update`` with their functions of the parameters applied to ``view(params)`` instead.

    Raises: ValueError while tracing where a loss returns anything but one number.
    """

    def through(key, fun):
        checked = scalar(key, fun) if key in LOSSES else fun
        return lambda params: checked(view(params))

    return {key: through(key, x) if key in FUNCTIONS and x is not None else x for key, x in extra.items()}


def hidden(where: str, advice: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The extra arguments with an objective that refuses to be evaluated.

    For wrappers that change gradients or steps behind the objective's back: what a line search or CG finds on the
    objective would have nothing to do with the step that is taken. `advice` says what to do instead.
    """

    def refuse(*_: Any) -> Any:
        raise ValueError(f"{where}: expected an optimizer that does not evaluate the objective; {advice}")

    return {key: refuse if key in FUNCTIONS and x is not None else x for key, x in extra.items()}
