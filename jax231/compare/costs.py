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


PRODUCTS = 10


class Meter:
    """The programs that measure the rates of one arena; `needs` says which of "loss", "hvp", "hessian" are used."""

    def __init__(self, arena: Arena, needs: Iterable[str], pool: ThreadPoolExecutor):
        self._arena, self._needs = arena, frozenset(needs)
        problem, shapes = arena.problem, arena.shapes
        train = problem.split.train

        def products(count, params, data):
            gradient, product = linearized_hvp(lambda p: problem.objective(p, data), params)
            return jax.lax.fori_loop(0, count, lambda _, v: tree.scale(0.1, product(v)), gradient)

        def newton_system(params, data):
            flat, unravel = tree.ravel(params)
            matrix = hessian(lambda x: problem.objective(unravel(x), data), flat)
            return damped_solve(matrix, jnp.ones_like(flat), 1.0)

        self._gradient = Program(pool, jax.value_and_grad(problem.objective), shapes, train)
        self._loss = Program(pool, problem.objective, shapes, train) if "loss" in self._needs else None
        self._products = Program(pool, products, jnp.int32(1), shapes, train) if "hvp" in self._needs else None
        self._hessian = Program(pool, newton_system, shapes, train) if "hessian" in self._needs else None
        found = (self._gradient, self._loss, self._products, self._hessian)
        self.programs = [program for program in found if program is not None]

    def measure(self, *, repeats: int = 11) -> Rates:
        """Measure side by side, each median over `repeats` interleaved calls; what is not used is reported as 0.

        An hvp is a tenth of the difference between eleven products and one after the same linearization.
        """
        point = (next(iter(self._arena.starts.values())), self._arena.problem.split.train)
        calls: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {"gradient": (self._gradient, point)}
        if self._loss:
            calls["loss"] = (self._loss, point)
        if self._products:
            calls["one"] = (self._products, (jnp.int32(1), *point))
            calls["many"] = (self._products, (jnp.int32(1 + PRODUCTS), *point))
        if self._hessian:
            calls["hessian"] = (self._hessian, point)
        times = interleaved(calls, repeats=repeats)
        gradient = times["gradient"].median
        hvp = (times["many"].median - times["one"].median) / PRODUCTS if self._products else 0.0
        return Rates(
            gradient_seconds=gradient,
            loss=times["loss"].median / gradient if self._loss else 0.0,
            hvp=max(hvp, 0.0) / gradient,
            hessian=times["hessian"].median / gradient if self._hessian else 0.0,
            spread={name: time.spread for name, time in times.items() if name != "one"},
        )
