"""Exchange rates: what an evaluation costs on this problem and machine, in gradients over the training split."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jax231.compare.arena import Arena
from jax231.compare.program import Program
from jax231.core import tree
from jax231.curvature.products import hessian, linearized_hvp
from jax231.measure.timing import interleaved
from jax231.optim.newton import damped_solve


class Rates(NamedTuple):
    """Costs relative to one value-and-gradient over the training split, which takes `gradient_seconds`.

    `hvp` is one more product with a linearized gradient; `hessian` a dense Hessian with its factorization (0 where it
    was not measured). `spread` is the interquartile range of each time over its median.
    """

    gradient_seconds: float
    loss: float
    hvp: float
    hessian: float
    spread: dict[str, float]

    @property
    def vector(self) -> tuple[float, float, float, float]:
        """In the order of `optim.counts.Counts`: loss, gradient, hvp, hessian."""
        return (self.loss, 1.0, self.hvp, self.hessian)


MANY, ONE = 11, 1


class Meter:
    """The programs that measure the rates of one arena; `needs` says which of "loss", "hvp", "hessian" are used.

    Each evaluates inside a loop as often as it is told: what a call costs besides would otherwise hide what a small
    gradient does. The loop's carry changes a little in each round, so that nothing can be taken out of it.
    """

    def __init__(self, arena: Arena, needs: Iterable[str], pool: ThreadPoolExecutor):
        self._arena, needs = arena, frozenset(needs)
        objective = arena.problem.objective

        def gradients(count, params, data):
            return jax.lax.fori_loop(
                0, count, lambda _, p: tree.axpy(-1e-6, jax.grad(objective)(p, data), p), params
            )  # fmt: skip

        def losses(count, params, data):
            return jax.lax.fori_loop(0, count, lambda _, p: tree.scale(1 - 1e-6 * objective(p, data), p), params)

        def products(count, params, data):
            gradient, product = linearized_hvp(lambda p: objective(p, data), params)
            return jax.lax.fori_loop(0, count, lambda _, v: tree.scale(0.1, product(v)), gradient)

        def newton_systems(count, params, data):
            flat, unravel = tree.ravel(params)

            def solve(_, point):
                matrix = hessian(lambda x: objective(unravel(x), data), point)
                return point + 1e-6 * damped_solve(matrix, point, 1.0)[0]

            return jax.lax.fori_loop(0, count, solve, flat)

        functions = {"gradient": gradients, "loss": losses, "hvp": products, "hessian": newton_systems}
        arguments = (jnp.int32(ONE), arena.shapes, arena.problem.split.train)
        chosen = {name: function for name, function in functions.items() if name == "gradient" or name in needs}
        self._programs = {name: Program(pool, function, *arguments) for name, function in chosen.items()}
        self.programs = list(self._programs.values())

    def measure(self, *, repeats: int = 9) -> Rates:
        """Measure in turns; an evaluation takes a tenth of what eleven take longer than one, median over `repeats`.

        A Hessian takes long enough for a call with one to be its cost.
        """
        point = (next(iter(self._arena.starts.values())), self._arena.problem.split.train)
        calls: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        for name, program in self._programs.items():
            calls[f"{name} {ONE}"] = (program, (jnp.int32(ONE), *point))
            if name != "hessian":
                calls[f"{name} {MANY}"] = (program, (jnp.int32(MANY), *point))
        times = interleaved(calls, repeats=repeats)

        def seconds(name: str) -> float:
            if name not in self._programs:
                return 0.0
            once = times[f"{name} {ONE}"].median
            return once if name == "hessian" else max(times[f"{name} {MANY}"].median - once, 0.0) / (MANY - ONE)

        gradient = seconds("gradient")
        return Rates(
            gradient_seconds=gradient,
            loss=seconds("loss") / gradient,
            hvp=seconds("hvp") / gradient,
            hessian=seconds("hessian") / gradient,
            spread={name: times[f"{name} {ONE if name == 'hessian' else MANY}"].spread for name in self._programs},
        )
