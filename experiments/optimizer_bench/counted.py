"""An objective that tells of every evaluation: counts that do not rest on what a minimiser reports of itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax


@dataclass
class Log:
    """The values of all evaluations in their order, and how many of them were with a gradient."""

    values: list[float] = field(default_factory=list)
    gradients: int = 0

    def until(self, bound: float) -> int | None:
        """How many evaluations it took to a value of at most `bound`."""
        return next((number for number, value in enumerate(self.values, 1) if value <= bound), None)


def counted(fun: Callable[..., jax.Array]) -> tuple[Callable[..., jax.Array], Log]:
    """``fun(x, *data)`` and the log that it writes, eager and compiled alike; ``jax.effects_barrier()`` completes it.

    A value together with its gradient is one evaluation. Each linearization (in x alone) counts as a gradient.
    """
    log = Log()

    def tell_value(value: Any) -> None:
        log.values.append(float(value))

    def tell_gradient(value: Any) -> None:
        log.values.append(float(value))
        log.gradients += 1

    @jax.custom_jvp
    def watched(x: jax.Array, *data: Any) -> jax.Array:
        value = fun(x, *data)
        jax.debug.callback(tell_value, value)
        return value

    @watched.defjvp
    def _linearized(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        (x, *data), slope_of_x = primals, tangents[:1]
        value, slope = jax.jvp(lambda x: fun(x, *data), (x,), slope_of_x)
        jax.debug.callback(tell_gradient, value)
        return value, slope

    return watched, log
