"""First-order runs: a sweep of rules, rates and seeds as one compiled program, and one rule alone.

A program advances its lanes to a step number that is an argument, so one compilation serves chunks of any length. No
random bits are drawn inside: starting points and batch indices are arguments. A lane that diverges is frozen.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from jax231.compare.arena import Arena, exploded
from jax231.compare.problems import Problem
from jax231.compare.program import Program
from jax231.compare.task import Recorder, Task, Winner
from jax231.core import tree
from jax231.core.types import Batch
from jax231.measure.summary import Lane, Run
from jax231.measure.timing import timed
from jax231.optim.family import coefficients, family, stack

PyTree = Any
Build = Callable[[Any], optax.GradientTransformationExtraArgs]

SMOOTHING = 0.9
POINTS = 48
CHUNKS = 40


class Carry(NamedTuple):
    """A run on its way; `smoothed` is the running average of the mini-batch losses."""

    params: PyTree
    opt: PyTree
    smoothed: Float[Array, ""]
    diverged: Bool[Array, ""]


def begin(build: Build, setting: Any, params: PyTree, start: Array) -> Carry:
    """The carry before the first step."""
    return Carry(params, build(setting).init(params), start, jnp.zeros((), bool))


def advance(problem: Problem, build: Build) -> Callable[..., Carry]:
    """``run(setting, carry, start, indices (steps, batch), data, first, last)``: the steps from `first` to `last`.

    `setting` is what `build` takes, `start` the objective before the first step; all arguments are traced.
    """

    def step(setting, start, data, chosen, carry: Carry) -> Carry:
        batch = Batch(data.inputs[chosen], data.targets[chosen])

        def value_fn(params):
            return problem.objective(params, batch)

        value, grad = jax.value_and_grad(value_fn)(carry.params)
        tx = optax.with_extra_args_support(build(setting))
        updates, opt = tx.update(grad, carry.opt, carry.params, value=value, grad=grad, value_fn=value_fn)
        smoothed = SMOOTHING * carry.smoothed + (1 - SMOOTHING) * value
        diverged = carry.diverged | exploded(problem, smoothed, start)
        moved = Carry(optax.apply_updates(carry.params, updates), opt, smoothed, diverged)
        return tree.where(diverged, carry._replace(diverged=diverged), moved)

    def run(setting, carry, start, indices, data, first, last):
        return jax.lax.fori_loop(first, last, lambda i, c: step(setting, start, data, indices[i], c), carry)

    return run


def sweep(problem: Problem, build: Build) -> Callable[..., Carry]:
    """`advance` over seeds (outer axis: carry, start and indices) and settings (inner axis: setting and carry)."""
    over_settings = jax.vmap(advance(problem, build), (0, 0, None, None, None, None, None))
    return jax.vmap(over_settings, (None, 0, 0, 0, None, None, None))


def build_family(setting: Any) -> optax.GradientTransformationExtraArgs:
    """The transformation of one lane of `optim.family`."""
    rate, numbers = setting
    return family(rate, numbers)


class FirstOrder:
    """Runs the first-order tasks of an arena that share a swept program: the family's rules, or one other rule."""

    def __init__(self, arena: Arena, tasks: list[Task], tuning_seeds: tuple[int, ...]):
        self.arena, self.tasks, self.seeds = arena, tasks, tuning_seeds
        self.steps = max(self._steps(task) for task in tasks)
        self.lanes = [(task, setting) for task in tasks for setting in task.grid]
        rates = jnp.asarray([setting for _, setting in self.lanes])
        rules = [coefficients(task.entry.family) for task, _ in self.lanes if task.entry.family]
        self._build, self._settings = (
            (build_family, (rates, stack(rules))) if rules else (tasks[0].entry.builder, rates)
        )
        self._sweep: Program | None = None
        self._alone: dict[str, Program] = {}

    def _steps(self, task: Task) -> int:
        arena = self.arena
        return max(1, math.floor(task.budget * arena.problem.examples / (arena.batch * task.entry.gradients) + 1e-9))

    def _cost(self, task: Task, steps: int) -> float:
        return steps * task.entry.gradients * self.arena.batch / self.arena.problem.examples

    # Compilation

    def compile(self, pool, search: bool, alone: list[Task]) -> list[Program]:
        """Start compiling what is needed: the sweep, and each of the tasks to be run alone."""
        problem, nowhere = self.arena.problem, self._range(0, 0)
        if search:
            self._sweep = Program(pool, sweep(problem, self._build), *self._lanes(), *nowhere)
        for task in alone:
            single = self._single(task, task.grid[0], self.seeds[0])
            self._alone[task.name] = Program(pool, advance(problem, task.entry.builder), *single, *nowhere)
        return [*([self._sweep] if self._sweep else []), *self._alone.values()]

    def _range(self, first: int, last: int) -> tuple[PyTree, Array, Array]:
        return self.arena.problem.split.train, jnp.int32(first), jnp.int32(last)

    def _single(self, task: Task, setting: float, seed: int) -> tuple[Any, ...]:
        arena, rate = self.arena, jnp.asarray(setting)
        carry = begin(task.entry.builder, rate, arena.starts[seed], arena.losses[seed])
        return rate, carry, arena.losses[seed], arena.order(seed, self._steps(task))

    def _lanes(self) -> tuple[Any, ...]:
        arena = self.arena
        starts = jnp.stack([arena.losses[seed] for seed in self.seeds])
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(arena.starts[seed] for seed in self.seeds))
        orders = jnp.stack([arena.order(seed, self.steps) for seed in self.seeds])
        over_settings = jax.vmap(lambda s, p, v: begin(self._build, s, p, v), (0, None, None))
        carries = jax.vmap(over_settings, (None, 0, 0))(self._settings, params, starts)
        return self._settings, carries, starts, orders

    # Running

    def search(self, done: Callable[[float], None]) -> Iterator[Lane]:
        """Run all lanes to the end and yield their records; `done` hears the share of the work since the last call."""
        assert self._sweep is not None
        settings, carries, starts, orders = self._lanes()
        bounds = np.linspace(0, self.steps, min(CHUNKS, self.steps) + 1).round().astype(int).tolist()
        for first, last in itertools.pairwise(bounds):
            carries = jax.block_until_ready(
                self._sweep(settings, carries, starts, orders, *self._range(first, last))
            )  # fmt: skip
            done((last - first) / self.steps)
        for row, seed in enumerate(self.seeds):
            for column, (task, setting) in enumerate(self.lanes):
                carry = jax.tree.map(lambda x, row=row, column=column: x[row, column], carries)
                yield self._record(task, setting, seed, carry)

    def _record(self, task: Task, setting: float, seed: int, carry: Carry) -> Lane:
        loss, accuracy = self.arena.measure(carry.params, self.arena.problem.split.validation)
        diverged = bool(carry.diverged) or not math.isfinite(loss)
        return Lane(
            problem=task.problem,
            optimizer=task.name,
            setting=setting,
            seed=seed,
            start=float(self.arena.losses[seed]),
            final=loss if math.isfinite(loss) else None,
            best=None if diverged else loss,
            steps=self.steps,
            cost=self._cost(task, self.steps),
            diverged=diverged,
            accuracy=accuracy,
        )

    def alone(self, task: Task, winner: Winner, seed: int) -> Run:
        """Run one optimizer by itself, warm; only its own steps are timed, not the measurements between them."""
        program, steps = self._alone[task.name], self._steps(task)
        rate, carry, start, order = self._single(task, winner.setting, seed)
        jax.block_until_ready(program(rate, carry, start, order, *self._range(0, min(2, steps))))
        recorder, elapsed, last = Recorder(task, winner, seed), 0.0, 0
        points = np.unique(np.geomspace(1, steps, POINTS).round().astype(int)).tolist()
        for point in [0, *points]:
            if point > last:
                arguments = (rate, carry, start, order, *self._range(last, point))
                carry, took = timed(program, *arguments)
                elapsed += took
            last = point
            loss, accuracy = self.arena.measure(carry.params, self.arena.problem.split.test)
            recorder.add(point, self._cost(task, point), elapsed, loss, accuracy)
            if bool(carry.diverged) or not math.isfinite(loss):
                break
        status = "diverged" if bool(carry.diverged) or not math.isfinite(loss) else "budget"
        gradients = last * task.entry.gradients
        return recorder.finish(status, {"gradient": gradients}, program.wait())
