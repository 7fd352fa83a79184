"""First-order runs: the compiled sweep against a plain loop over Optax's rules, divergence, curves."""

import math
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.compare import first_order, problems
from jax231.compare.arena import Arena
from jax231.compare.first_order import FirstOrder
from jax231.compare.program import Program
from jax231.compare.task import Task, Winner
from jax231.core import precision
from jax231.core.types import Batch
from jax231.optim import catalog

BATCH, BUDGET = 20, 10.0
STEPS = 30  # ten passes over 60 examples


def adagrad(rate: float) -> optax.GradientTransformation:
    """The course's, with epsilon outside the root; Optax has it inside."""

    def update(gradient, sums, params=None):
        sums = jax.tree.map(lambda s, g: s + g**2, sums, gradient)
        return jax.tree.map(lambda s, g: -rate * g / (jnp.sqrt(s) + 1e-7), sums, gradient), sums

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)


RULES = {
    "sgd": (0.3, optax.sgd(0.3)),
    "momentum": (0.1, optax.sgd(0.1, momentum=0.9)),
    "nesterov": (0.1, optax.sgd(0.1, momentum=0.9, nesterov=True)),
    "adagrad": (0.1, adagrad(0.1)),
    "rmsprop": (0.01, optax.rmsprop(0.01, decay=0.9, eps=1e-8)),
    "adam": (0.01, optax.adam(0.01)),
}
SEEDS = (0, 1)
ABSURD = 1e6


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def arena(pool):
    problem = problems.build("softmax", problems.load("digits", examples=60))
    return Arena(problem, SEEDS, BATCH, pool)


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {name: Task("softmax", catalog.entry(name), (rate, ABSURD), BUDGET) for name, (rate, _) in RULES.items()}


@pytest.fixture(scope="module")
def driver(arena, pool, tasks):
    with precision.highest():
        made = FirstOrder(arena, list(tasks.values()), SEEDS)
        made.compile_search(pool)
        for task in tasks.values():
            made.compile_alone(pool, task)
        yield made


@pytest.fixture(scope="module")
def shares() -> list[float]:
    return []


@pytest.fixture(scope="module")
def lanes(driver, shares):
    found = list(driver.search(set(), shares.append))
    return {(lane.optimizer, lane.setting, lane.seed): lane for lane in found}


def by_loop(arena: Arena, rule: optax.GradientTransformation, seed: int) -> list[float]:
    """The definition: Optax's rule on the same batches, step by step; the objective before and after every step."""
    problem, params = arena.problem, arena.starts[seed]
    train, order = problem.split.train, np.asarray(arena.order(seed, STEPS))
    gradient, loss = jax.jit(jax.grad(problem.objective)), jax.jit(problem.objective)
    update, state = jax.jit(rule.update), rule.init(params)
    losses = [float(loss(params, train))]
    for chosen in order:
        updates, state = update(gradient(params, Batch(train.inputs[chosen], train.targets[chosen])), state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss(params, train)))
    return losses


@pytest.mark.parametrize("name", RULES)
def test_a_lane_and_a_run_are_the_rule_in_a_plain_loop(arena, driver, tasks, lanes, name):
    rate, rule = RULES[name]
    with precision.highest():
        losses = by_loop(arena, rule, 1)
        run = driver.alone(tasks[name], Winner(rate, None), 1)
    assert lanes[name, rate, 1].final == pytest.approx(losses[-1], rel=1e-4)
    np.testing.assert_allclose(run.loss, [losses[step] for step in run.steps], rtol=1e-4)
    assert lanes[name, rate, 1].start == pytest.approx(losses[0], rel=1e-6)


def test_every_lane_is_there_once_and_pays_the_budget(lanes, shares):
    assert set(lanes) == {
        (name, setting, seed) for name, (rate, _) in RULES.items() for setting in (rate, ABSURD) for seed in SEEDS
    }
    assert all((lane.steps, lane.cost) == (STEPS, BUDGET) for lane in lanes.values())
    assert sum(shares) == pytest.approx(1.0)


def test_known_lanes_are_not_run_again(driver, lanes):
    known = {("softmax", *key) for key in lanes}
    assert list(driver.search(known, lambda share: None)) == []


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_an_absurd_rate_diverges_and_is_frozen(arena, driver, tasks, lanes, name):
    lane = lanes[name, ABSURD, 0]
    assert lane.diverged
    assert lane.best is None
    assert lane.final is None or lane.final > 3 * lane.start
    run = driver.alone(tasks[name], Winner(ABSURD, "high"), 0)
    assert (run.status, run.diverged, run.edge) == ("diverged", True, "high")
    assert run.steps[-1] < STEPS  # the curve ends where the run does
    assert not lanes[name, RULES[name][0], 0].diverged  # its neighbours go on


def test_a_diverged_carry_does_not_move(arena, pool):
    problem, build = arena.problem, catalog.entry("sgd").builder
    params, start = arena.starts[0], arena.losses[0]
    rest = (start, arena.order(0, STEPS), problem.split.train)
    carry = first_order.begin(build, jnp.float32(ABSURD), params, start)
    run = Program(
        pool, first_order.advance(problem, build), jnp.float32(1), params, carry, *rest, np.int32(0), np.int32(0)
    )
    at = [run(jnp.float32(ABSURD), params, carry, *rest, np.int32(0), np.int32(last)) for last in (5, 6, STEPS)]
    assert all(bool(carry.diverged) for carry in at)
    jax.tree.map(lambda *rows: [np.testing.assert_array_equal(rows[0], row) for row in rows[1:]], *at)


def test_the_average_of_losses_decides(arena, pool):
    """A run that stays where it is ends once its average has crossed three times a start that was ten times lower."""
    problem, build = arena.problem, catalog.entry("sgd").builder
    params = arena.starts[0]
    rest = (arena.order(0, STEPS), problem.split.train)
    losses = []
    for start in (arena.losses[0], arena.losses[0] / 10):
        carry = first_order.begin(build, jnp.float32(1), params, start)
        run = jax.jit(first_order.advance(problem, build))
        diverged = []
        for last in range(STEPS):
            carry = run(jnp.float32(0), params, carry, start, *rest, np.int32(last), np.int32(last + 1))
            diverged.append(bool(carry.diverged))
        losses.append(diverged)
    assert not any(losses[0])
    # at rate 0 the loss is c and the average start + (c - start) (1 - 0.9^t): above 3 start from 1 - 0.9^t > 2 / 9
    first = math.ceil(math.log(7 / 9) / math.log(0.9))
    assert losses[1].index(True) == pytest.approx(first - 1, abs=1)  # batches differ a little
    assert all(losses[1][losses[1].index(True) :])


def test_chunks_of_any_length_are_the_same_bits(arena, pool):
    problem, build = arena.problem, catalog.entry("adam").builder
    params, start = arena.starts[0], arena.losses[0]
    rest = (start, arena.order(0, STEPS), problem.split.train)
    rate = jnp.float32(0.01)
    carry = first_order.begin(build, rate, params, start)
    run = Program(pool, first_order.advance(problem, build), rate, params, carry, *rest, np.int32(0), np.int32(0))
    whole = run(rate, params, carry, *rest, np.int32(0), np.int32(STEPS))
    for first, last in [(0, 1), (1, 11), (11, 11), (11, STEPS)]:
        carry = run(rate, params, carry, *rest, np.int32(first), np.int32(last))
    jax.tree.map(np.testing.assert_array_equal, carry, whole)


def test_a_look_ahead_step_costs_two_gradients(arena, pool):
    task = Task("softmax", catalog.entry("nesterov_lookahead"), (0.1,), BUDGET)
    driver = FirstOrder(arena, [task], SEEDS)
    driver.compile_alone(pool, task)
    run = driver.alone(task, Winner(0.1, None), 0)
    assert (run.steps[-1], run.cost[-1]) == (STEPS // 2, BUDGET)
    assert run.counts == {"gradient": STEPS}


def test_a_schedule_free_run_is_reported_at_its_mean(arena, pool):
    entry = catalog.entry("schedule_free")
    task = Task("softmax", entry, (0.05,), BUDGET)
    driver = FirstOrder(arena, [task], (0,))
    driver.compile_search(pool)
    driver.compile_alone(pool, task)
    (lane,) = driver.search(set(), lambda share: None)
    run = driver.alone(task, Winner(0.05, None), 0)
    problem, params, train = arena.problem, arena.starts[0], arena.problem.split.train
    tx = entry.builder(0.05)

    @jax.jit
    def step(params, state, chosen):
        grads = jax.grad(problem.objective)(params, Batch(train.inputs[chosen], train.targets[chosen]))
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for chosen in arena.order(0, STEPS):
        params, state = step(params, state, chosen)
    mean, last = (float(problem.objective(p, train)) for p in (entry.evaluation_params(state, params), params))
    assert run.loss[-1] == pytest.approx(mean, rel=1e-4)
    assert lane.final == pytest.approx(mean, rel=1e-4)
    assert abs(mean - last) > 1e-3 * last


def test_a_budget_of_less_than_a_batch_is_one_step(arena, pool):
    task = Task("softmax", catalog.entry("sgd"), (0.1,), 1e-3)
    driver = FirstOrder(arena, [task], (0,))
    driver.compile_search(pool)
    (lane,) = driver.search(set(), lambda share: None)
    assert (lane.steps, lane.cost) == (1, pytest.approx(1 / 3))
