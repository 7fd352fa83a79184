"""Second-order runs: full batch, one compiled program a method, called once a lane.

Mapped lanes would all wait for the slowest line search, so lanes take turns. The budget is counted inside the program,
in gradient-equivalents, from the evaluations that the optimizer's state reports.
"""

import math
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jax231.compare.arena import Arena, exploded
from jax231.compare.costs import Rates
from jax231.compare.plan import Work
from jax231.compare.problems import Problem
from jax231.compare.program import Program, blank
from jax231.compare.task import Key, Recorder, Task, Winner, record_next
from jax231.compare.threads import side_by_side
from jax231.core import tree
from jax231.core.types import PyTree
from jax231.measure.summary import Lane, Number, Run
from jax231.measure.timing import overhead, timed
from jax231.optim import reuse
from jax231.optim.counts import Counts

Build = Callable[[Any], optax.GradientTransformationExtraArgs]


class State(Protocol):
    """What the state of every second-order optimizer tells."""

    counts: Counts
    stalled: Array


RUNNING, BUDGET, STALLED, CONVERGED, DIVERGED = range(5)
STATUS = ("running", "budget", "stalled", "converged", "diverged")
TOLERANCE = 1e-6
"""A gradient of at most this norm counts as converged: what float32 can resolve on these problems."""

CHUNK = 20
"""Steps between two looks at whether the search has been interrupted."""


class Carry(NamedTuple):
    """A run on its way; `cost` in gradient-equivalents."""

    params: PyTree
    opt: PyTree
    status: Int[Array, ""]
    steps: Int[Array, ""]
    cost: Float[Array, ""]


def begin(build: Build, damping: Any, params: PyTree) -> Carry:
    """The carry before the first step."""
    zero = jnp.zeros((), jnp.int32)
    return Carry(params, build(damping).init(params), zero, zero, jnp.zeros((), float))


def advance(problem: Problem, build: Build) -> Callable[..., Carry]:
    """``run(damping, params, carry, start, data, rates, budget, least, last)``: steps until number `last` or an end.

    `params` is the starting point; a carry of no steps is made here.

    Ends are: a gradient of norm `TOLERANCE` (converged), a line search without success (stalled), an exploded loss
    (diverged), `budget` gradient-equivalents spent and `least` steps done (budget). `rates` are the costs of a loss, a
    gradient, an hvp and a Hessian, in the order of `optim.counts.Counts`; all arguments are traced.
    """

    def step(damping, start, data, rates, budget, least, carry: Carry) -> Carry:
        def value_fn(params):
            return problem.objective(params, data)

        value, grad = reuse.value_and_grad(value_fn, carry.params, carry.opt)
        updates, opt = build(damping).update(
            grad,
            carry.opt,
            carry.params,
            value=value,
            grad=grad,
            value_fn=value_fn,
            outputs_fn=lambda params: problem.outputs(params, data),
            outputs_loss=lambda outputs: problem.outputs_loss(outputs, data),
            per_example_fn=lambda params: problem.example_losses(problem.outputs(params, data), data),
        )
        told = cast(State, opt)
        cost = sum(rate * count for rate, count in zip(rates, told.counts, strict=True))
        status = jnp.where((cost >= budget) & (carry.steps + 1 >= least), BUDGET, RUNNING)
        status = jnp.where(told.stalled, STALLED, status)
        status = jnp.where(tree.norm(grad) <= TOLERANCE, CONVERGED, status)
        status = jnp.where(exploded(problem, value, start), DIVERGED, status)
        params = optax.apply_updates(carry.params, updates)
        return Carry(params, opt, status.astype(jnp.int32), carry.steps + 1, jnp.asarray(cost, carry.cost.dtype))

    def run(damping, params, carry, start, data, rates, budget, least, last):
        carry = jax.lax.cond(carry.steps == 0, lambda: begin(build, damping, params), lambda: carry)
        return jax.lax.while_loop(
            lambda c: (c.status == RUNNING) & (c.steps < last),
            lambda c: step(damping, start, data, rates, budget, least, c),
            carry,
        )

    return run


class SecondOrder:
    """Runs one second-order task of an arena."""

    def __init__(self, arena: Arena, task: Task, rates: Rates, tuning_seeds: tuple[int, ...]):
        self.arena, self.tasks, self.seeds = arena, [task], tuning_seeds
        self._task = task
        self._rates = tuple(jnp.asarray(rate, float) for rate in rates.vector)
        self._program: Program | None = None

    def compile_search(self, pool: ThreadPoolExecutor) -> Program:
        """Start compiling, unless that has been done: searching and running alone are the same program."""
        if self._program is None:
            function = advance(self.arena.problem, self._task.entry.builder)
            self._program = Program(pool, function, *self._arguments(self._task.grid[0], self.seeds[0]), np.int32(0))
        return self._program

    def programs(self, work: Work) -> int:
        """How many compilations `work` takes: one for searching and running alone."""
        return int(work.search or any(work.alone.values()))

    def compile_alone(self, pool: ThreadPoolExecutor, task: Task) -> Program:
        """The same program."""
        return self.compile_search(pool)

    def _arguments(self, setting: float, seed: int) -> tuple[Any, ...]:
        arena, task, damping = self.arena, self._task, jnp.asarray(setting)
        params = arena.starts[seed]
        carry = blank(jax.eval_shape(partial(begin, task.entry.builder), damping, params))
        limits = (self._rates, jnp.asarray(task.budget, float), np.int32(task.entry.steps))
        return damping, params, carry, arena.losses[seed], arena.problem.split.train, *limits

    def search(self, known: Container[Key], done: Callable[[float], None]) -> Iterator[Lane]:
        """Run every lane that is not `known` and yield its record; `done` hears the share of the work that each was."""
        task = self._task
        lanes = [(setting, seed) for seed in self.seeds for setting in task.grid]
        left = [(setting, seed) for setting, seed in lanes if (task.problem, task.name, setting, seed) not in known]

        def work(lane: tuple[float, int], stopping: Event) -> list[Lane]:
            if stopping.is_set():
                return []
            record = self._lane(*lane, stopping)
            done(1 / len(left))
            return [record]

        yield from side_by_side(work, left)

    def _lane(self, setting: float, seed: int, stopping: Event) -> Lane:
        assert self._program is not None
        damping, params, carry, *fixed = self._arguments(setting, seed)
        while int(carry.status) == RUNNING and not stopping.is_set():
            last = np.int32(int(carry.steps) + CHUNK)
            carry = jax.block_until_ready(self._program(damping, params, carry, *fixed, last))
        loss, accuracy = self.arena.measure(carry.params, self.arena.problem.split.validation)
        diverged = int(carry.status) == DIVERGED or not math.isfinite(loss)
        return Lane(
            problem=self._task.problem,
            optimizer=self._task.name,
            setting=setting,
            seed=seed,
            start=float(self.arena.losses[seed]),
            final=loss if math.isfinite(loss) else None,
            best=None if diverged else loss,
            steps=int(carry.steps),
            cost=float(carry.cost),
            diverged=diverged,
            accuracy=accuracy,
        )

    def alone(self, task: Task, winner: Winner, seed: int) -> Run:
        """Run by itself, warm; only the method's own steps are timed, not the measurements between them."""
        assert self._program is not None
        damping, params, carry, *fixed = self._arguments(winner.setting, seed)
        jax.block_until_ready(self._program(damping, params, carry, *fixed, np.int32(1)))
        calling = overhead(self._program, damping, params, carry, *fixed, np.int32(0))
        recorder, elapsed = Recorder(task, winner, seed), 0.0
        while True:
            point = carry.params if int(carry.steps) else params
            loss, accuracy = self.arena.measure(point, self.arena.problem.split.test)
            recorder.add(int(carry.steps), float(carry.cost), elapsed, loss, accuracy)
            if int(carry.status) != RUNNING or not math.isfinite(loss):
                break
            last = record_next(int(carry.steps))
            carry, took = timed(self._program, damping, params, carry, *fixed, np.int32(last))
            elapsed += max(took - calling, 0.0)
        status = STATUS[int(carry.status)] if math.isfinite(loss) else "diverged"
        counts: dict[str, Number] = {name: int(count) for name, count in carry.opt.counts._asdict().items()}
        return recorder.finish(status, counts, self._program.wait())
