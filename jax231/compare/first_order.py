"""First-order runs: a sweep of rules, rates and seeds as one compiled program, and one rule alone.

A program advances its lanes to a step number that is an argument, so one compilation serves chunks of any length. No
random bits are drawn inside: starting points and batch indices are arguments. A lane that diverges is frozen.
"""

import itertools
import math
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from jax231.compare.arena import Arena, exploded
from jax231.compare.plan import Work
from jax231.compare.problems import Problem
from jax231.compare.program import Program, blank
from jax231.compare.task import Key, Recorder, Task, Winner, record_next
from jax231.compare.threads import side_by_side
from jax231.core import tree
from jax231.core.types import Batch, PyTree
from jax231.measure.summary import Lane, Run
from jax231.measure.timing import overhead, timed
from jax231.optim.family import Coefficients, coefficients, family, stack

Build = Callable[[Any], optax.GradientTransformationExtraArgs]

SMOOTHING = 0.9
CHUNKS = 40
OWN = 100_000
"""Parameters from which on a rule of the family runs alone through a program of its own."""


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
    """``run(setting, params, carry, start, indices, data, first, last)``: the steps from `first` to `last`.

    `setting` is what `build` takes, `params` the starting point, `start` the objective there, and `indices` (steps,
    batch) the examples of every step; all arguments are traced. Where `first` is 0 the carry is made here.
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

    def run(setting, params, carry, start, indices, data, first, last):
        carry = jax.lax.cond(first == 0, lambda: begin(build, setting, params, start), lambda: carry)

        def body(i, carry):  # the branch spares a lane by itself its steps after a divergence
            return jax.lax.cond(carry.diverged, lambda c: c, lambda c: step(setting, start, data, indices[i], c), carry)

        return jax.lax.fori_loop(first, last, body, carry)

    return run


def sweep(problem: Problem, build: Build) -> Callable[..., Carry]:
    """`advance` over seeds (outer axis: params, carry, start, indices) and settings (inner axis: setting, carry)."""
    run = advance(problem, build)

    def lanes(settings, params, carries, starts, indices, data, first, last):
        def of_seed(point, row, start, order):
            return jax.vmap(lambda setting, carry: run(setting, point, carry, start, order, data, first, last))(
                settings, row
            )

        return jax.vmap(of_seed)(params, carries, starts, indices)

    return lanes


def build_family(setting: Any) -> optax.GradientTransformationExtraArgs:
    """The transformation of one lane of `optim.family`."""
    rate, numbers = setting
    return family(rate, numbers)


class Part(NamedTuple):
    """Lanes that run in one call of the swept program: each of `lanes` with each of `seeds`."""

    seeds: tuple[int, ...]
    lanes: list[tuple[Task, float]]


class FirstOrder:
    """Runs the first-order tasks of an arena that share a swept program: the family's rules, or one other rule."""

    def __init__(self, arena: Arena, tasks: list[Task], tuning_seeds: tuple[int, ...]):
        self.arena, self.tasks, self.seeds = arena, tasks, tuning_seeds
        self.steps = max(self._steps(task) for task in tasks)
        lanes = [[(task, setting) for setting in task.grid] for task in tasks]
        if arena.problem.heavy:
            self._parts = [Part((seed,), row) for seed in tuning_seeds for row in lanes]
        else:
            self._parts = [Part(tuning_seeds, list(itertools.chain(*lanes)))]
        self._build: Build = build_family if tasks[0].entry.family else tasks[0].entry.builder
        self._sweep: Program | None = None
        self._alone: dict[str, Program] = {}

    def _steps(self, task: Task) -> int:
        arena = self.arena
        return max(1, math.floor(task.budget * arena.problem.examples / (arena.batch * task.entry.gradients) + 1e-9))

    def _cost(self, task: Task, steps: int) -> float:
        return steps * task.entry.gradients * self.arena.batch / self.arena.problem.examples

    # Compilation

    def compile_search(self, pool: ThreadPoolExecutor) -> Program:
        """Start compiling the sweep."""
        program = Program(
            pool, sweep(self.arena.problem, self._build), *self._lanes(self._parts[0]), *self._range(0, 0)
        )
        self._sweep = program
        return program

    def compile_alone(self, pool: ThreadPoolExecutor, task: Task) -> Program:
        """Start compiling the program that runs `task` by itself; small rules of a family share one.

        What a rule does to a few thousand parameters is nothing beside the gradient, whichever program does it; on
        `OWN` parameters or more the moments that a rule does not need would cost it time, so it gets its own program.
        """
        name = self._program_of(task)
        if name not in self._alone:
            build, _ = self._rule(task, task.grid[0])
            single = self._single(task, task.grid[0], self.seeds[0])
            self._alone[name] = Program(pool, advance(self.arena.problem, build), *single, *self._range(0, 0))
        return self._alone[name]

    def programs(self, work: Work) -> int:
        """How many compilations `work` takes."""
        return work.search + len({self._program_of(task) for task in work.tasks if work.alone[task.name]})

    def _program_of(self, task: Task) -> str:
        return "family" if task.entry.family and self.arena.parameters < OWN else task.name

    def _rule(self, task: Task, setting: float) -> tuple[Build, Any]:
        """The builder that a run alone uses, and what it takes."""
        rate = jnp.asarray(setting)
        if task.entry.family and self._program_of(task) == "family":
            return build_family, (rate, Coefficients(*(jnp.asarray(c, float) for c in coefficients(task.entry.family))))
        return task.entry.builder, rate

    def _reported(self, task: Task, carry: Carry) -> PyTree:
        """The parameters that stand for the run; lanes of the family, whose states are their own, are no others."""
        return carry.params if task.entry.family else task.entry.evaluation_params(carry.opt, carry.params)

    def _range(self, first: int, last: int) -> tuple[Any, ...]:
        return self.arena.problem.split.train, np.int32(first), np.int32(last)

    def _single(self, task: Task, setting: float, seed: int) -> tuple[Any, ...]:
        """Arguments of a run before its first step: setting, params, carry, start, indices."""
        arena = self.arena
        build, rule = self._rule(task, setting)
        params, start = arena.starts[seed], arena.losses[seed]
        carry = blank(jax.eval_shape(partial(begin, build), rule, params, start))
        return rule, params, carry, start, arena.order(seed, self._steps(task))

    def _lanes(self, part: Part) -> tuple[Any, ...]:
        """Arguments of the sweep before its first step: settings, params, carries, starts, indices."""
        arena, seeds = self.arena, part.seeds
        settings: Any = jnp.asarray([setting for _, setting in part.lanes])
        rules = [coefficients(task.entry.family) for task, _ in part.lanes if task.entry.family]
        if rules:
            settings = (settings, stack(rules))
        starts = np.stack([arena.losses[seed] for seed in seeds])
        params = jax.tree.map(lambda *rows: np.stack(rows), *(arena.starts[seed] for seed in seeds))
        orders = np.stack([arena.order(seed, self.steps) for seed in seeds])
        over_settings = jax.vmap(partial(begin, self._build), (0, None, None))
        carries = blank(jax.eval_shape(jax.vmap(over_settings, (None, 0, 0)), settings, params, starts))
        return settings, params, carries, starts, orders

    # Running

    def search(self, known: Container[Key], done: Callable[[float], None]) -> Iterator[Lane]:
        """Run all lanes that are not `known` to the end and yield their records.

        `done` hears the share of the work since the last call. Lanes that share a call with an unknown one run again.
        """
        left = [part for part in self._parts if any(key not in known for key in self._keys(part))]

        def work(part: Part, stopping: Event) -> list[Lane]:
            return self._run(part, stopping, lambda share: done(share / len(left)))

        yield from side_by_side(work, left)

    def _keys(self, part: Part) -> list[Key]:
        return [(task.problem, task.name, setting, seed) for seed in part.seeds for task, setting in part.lanes]

    def _run(self, part: Part, stopping: Event, done: Callable[[float], None]) -> list[Lane]:
        assert self._sweep is not None
        settings, params, carries, *fixed = self._lanes(part)
        bounds = np.linspace(0, self.steps, min(CHUNKS, self.steps) + 1).round().astype(int).tolist()
        for first, last in itertools.pairwise(bounds):
            if stopping.is_set():
                return []
            carries = jax.block_until_ready(self._sweep(settings, params, carries, *fixed, *self._range(first, last)))
            done((last - first) / self.steps)
        carries = jax.device_get(carries)  # cut up by NumPy: every slice in JAX is a compilation
        return [
            self._record(task, setting, seed, jax.tree.map(lambda x, i=i, j=j: x[i, j], carries))
            for i, seed in enumerate(part.seeds)
            for j, (task, setting) in enumerate(part.lanes)
        ]

    def _record(self, task: Task, setting: float, seed: int, carry: Carry) -> Lane:
        loss, accuracy = self.arena.measure(self._reported(task, carry), self.arena.problem.split.validation)
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
        program, steps = self._alone[self._program_of(task)], self._steps(task)
        rule, params, carry, *fixed = self._single(task, winner.setting, seed)
        carry = jax.block_until_ready(program(rule, params, carry, *fixed, *self._range(0, 0)))
        jax.block_until_ready(program(rule, params, carry, *fixed, *self._range(0, min(2, steps))))
        calling = overhead(program, rule, params, carry, *fixed, *self._range(1, 1))
        recorder, elapsed, point = Recorder(task, winner, seed), 0.0, 0
        while True:
            loss, accuracy = self.arena.measure(self._reported(task, carry), self.arena.problem.split.test)
            recorder.add(point, self._cost(task, point), elapsed, loss, accuracy)
            if point == steps or bool(carry.diverged) or not math.isfinite(loss):
                break
            last, point = point, min(record_next(point), steps)
            carry, took = timed(program, rule, params, carry, *fixed, *self._range(last, point))
            elapsed += max(took - calling, 0.0)
        status = "diverged" if bool(carry.diverged) or not math.isfinite(loss) else "budget"
        gradients = point * task.entry.gradients
        return recorder.finish(status, {"gradient": gradients}, program.wait())
