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


def counted(fun: Callable[[jax.Array], jax.Array]) -> tuple[Callable[[jax.Array], jax.Array], Log]:
    """`fun` and the log that it writes, eager and compiled alike; ``jax.effects_barrier()`` completes it.

    A value together with its gradient is one evaluation. Each linearization counts as a gradient.
    """
    log = Log()

    def tell_value(value: Any) -> None:
        log.values.append(float(value))

    def tell_gradient(value: Any) -> None:
        log.values.append(float(value))
        log.gradients += 1

    @jax.custom_jvp
    def watched(x: jax.Array) -> jax.Array:
        value = fun(x)
        jax.debug.callback(tell_value, value)
        return value

    @watched.defjvp
    def _linearized(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
        value, slope = jax.jvp(fun, primals, tangents)
        jax.debug.callback(tell_gradient, value)
        return value, slope

    return watched, log
