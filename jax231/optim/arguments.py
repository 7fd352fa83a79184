"""What an optimizer's ``update`` was given beyond gradients, state and parameters."""

from collections.abc import Mapping
from typing import Any

from jax231.core.checks import require


def required(where: str, given: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    """The values of `names` among the extra arguments of ``update``.

    Raises: ValueError naming what is missing, as when the optimizer stands in a loop that passes gradients only.
    """
    missing = [name for name in names if given.get(name) is None]
    expected = f"update(grads, state, params, {', '.join(f'{name}=...' for name in names)})"
    require(not missing, where, expected, missing=missing)
    return tuple(given[name] for name in names)
