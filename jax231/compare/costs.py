"""Exchange rates: what an evaluation costs on this problem and machine, in gradients over the training split."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from jax231.compare.arena import Arena
from jax231.compare.program import Program
from jax231.core import tree
from jax231.curvature.products import hessian, linearized_ggnvp, linearized_hvp
from jax231.measure.timing import timed
from jax231.optim.newton import damped_solve


class Rates(NamedTuple):
    """Costs relative to one gradient over the training split, which takes `gradient_seconds`.

    `hvp` is one more product with a linearized gradient; `hessian` a dense Hessian with its factorization; `ggnvp` one
    more product with the linearized Gauss-Newton matrix (each 0 where it was not measured). `spread` is the
    interquartile range over the median: of the gradient's time, and of each of the others' rates.
    """

    gradient_seconds: float
    loss: float
    hvp: float
    hessian: float
    spread: dict[str, float]
    ggnvp: float = 0.0

    @property
    def vector(self) -> tuple[float, ...]:
        """In the order of `optim.counts.Counts`: loss, gradient, hvp, hessian, ggnvp."""
        return (self.loss, 1.0, self.hvp, self.hessian, self.ggnvp)


class Meter:
    """The programs that measure the rates of one arena; `needs` says which of them are used beside the gradient.

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

        def gauss_newton_products(count, params, data):
            gradient, product = linearized_ggnvp(
                lambda p: arena.problem.outputs(p, data), lambda o: arena.problem.outputs_loss(o, data), params
            )
            return jax.lax.fori_loop(0, count, lambda _, v: tree.scale(0.1, product(v)), gradient)

        functions = {
            "gradient": gradients,
            "loss": losses,
            "hvp": products,
            "ggnvp": gauss_newton_products,
            "hessian": newton_systems,
        }
        arguments = (np.int32(1), arena.shapes, arena.problem.split.train)
        chosen = {name: function for name, function in functions.items() if name == "gradient" or name in needs}
        self._programs = {name: Program(pool, function, *arguments) for name, function in chosen.items()}
        self.programs = list(self._programs.values())

    def measure(self, *, rounds: int = 7, seconds: float = 0.03) -> Rates:
        """Measure in turns: the median over `rounds` of each evaluation's time over the gradient's in the same round.

        An evaluation is repeated, in a loop inside one call, until the call takes `seconds`; a call that evaluates
        nothing is taken off (at most half, where noise makes it look longer), and with it what calling costs.
        """
        point = (next(iter(self._arena.starts.values())), self._arena.problem.split.train)
        counts = {name: self._count(program, point, seconds) for name, program in self._programs.items()}
        times: dict[str, list[float]] = {name: [] for name in self._programs}
        for _ in range(rounds):
            for name, program in self._programs.items():
                _, empty = timed(program, np.int32(0), *point)
                _, full = timed(program, np.int32(counts[name]), *point)
                times[name].append(max(full - empty, 0.5 * full) / counts[name])
        ratios = {name: np.divide(taken, times["gradient"]) for name, taken in times.items()}
        median = {name: float(np.median(ratio)) for name, ratio in ratios.items()}
        low, middle, high = np.quantile(times["gradient"], (0.25, 0.5, 0.75))
        spread = {"gradient": float((high - low) / middle)}
        for name in ratios.keys() - spread.keys():
            low, high = np.quantile(ratios[name], (0.25, 0.75))
            spread[name] = float((high - low) / median[name])
        evaluations = {name: median.get(name, 0.0) for name in ("loss", "hvp", "hessian", "ggnvp")}
        return Rates(gradient_seconds=float(middle), **evaluations, spread=spread)

    def _count(self, program: Program, point: tuple[Any, ...], seconds: float) -> int:
        """How many evaluations make a call that long, 1 at least; also warms the program up."""
        timed(program, np.int32(1), *point)
        count = 1
        while timed(program, np.int32(count), *point)[1] < seconds:
            count *= 2
        return count
