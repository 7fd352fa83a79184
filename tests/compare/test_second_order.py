"""Second-order runs: how they end, what they cost, and that a plain loop takes the same steps."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.compare import problems, second_order
from jax231.compare.arena import Arena
from jax231.compare.costs import Rates
from jax231.compare.second_order import SecondOrder
from jax231.compare.task import Task, Winner
from jax231.core import precision
from jax231.optim import catalog

RATES = Rates(gradient_seconds=1e-3, loss=0.4, hvp=1.5, hessian=40.0, spread={})
GRID = (1e-2, 1.0)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def arena(pool):
    problem = problems.build("softmax", problems.load("digits", examples=60))
    return Arena(problem, (0, 1), 0, pool)


def driver(arena: Arena, pool: ThreadPoolExecutor, name: str, budget: float) -> tuple[SecondOrder, Task]:
    task = Task("softmax", catalog.entry(name), GRID, budget)
    with precision.highest():
        made = SecondOrder(arena, task, RATES, (0, 1))
        made.compile_search(pool)
    return made, task


@pytest.fixture(scope="module")
def lbfgs(arena, pool):
    return driver(arena, pool, "lbfgs", 30.0)


@pytest.fixture(scope="module")
def newton_cg(arena, pool):
    return driver(arena, pool, "newton_cg", 30.0)


def test_every_lane_is_there_once(lbfgs):
    shares: list[float] = []
    lanes = list(lbfgs[0].search(set(), shares.append))
    assert [(lane.setting, lane.seed) for lane in lanes] == [(setting, seed) for seed in (0, 1) for setting in GRID]
    assert sum(shares) == pytest.approx(1.0)
    assert all(lane.final < lane.start and lane.best == lane.final and not lane.diverged for lane in lanes)
    known = {("softmax", "lbfgs", lane.setting, lane.seed) for lane in lanes[:3]}
    (last,) = lbfgs[0].search(known, shares.append)
    assert last == lanes[3]  # bit for bit


@pytest.mark.parametrize("name", ["lbfgs", "newton_cg"])
def test_counts_times_rates_are_the_cost(name, lbfgs, newton_cg):
    made, task = {"lbfgs": lbfgs, "newton_cg": newton_cg}[name]
    run = made.alone(task, Winner(GRID[0], None), 1)
    counts = run.counts
    total = 0.4 * counts["loss"] + counts["gradient"] + 1.5 * counts["hvp"] + 40 * counts["hessian"]
    assert run.cost[-1] == pytest.approx(total, rel=1e-5)
    assert (run.steps[0], run.cost[0], run.seconds[0]) == (0, 0, 0)
    assert all(np.diff(run.cost) > 0)
    assert all(np.diff(run.loss) <= 1e-6)  # line searches only go down
    assert run.status == "budget"
    assert run.cost[-2] < 30.0 <= run.cost[-1]


def test_a_run_alone_is_its_lane(lbfgs, arena):
    made, task = lbfgs
    run = made.alone(task, Winner(GRID[0], None), 1)
    lane = next(lane for lane in made.search(set(), lambda share: None) if (lane.setting, lane.seed) == (GRID[0], 1))
    assert run.loss[-1] == lane.final
    assert (run.steps[-1], run.cost[-1]) == (lane.steps, lane.cost)
    assert run.loss[0] == pytest.approx(lane.start, rel=1e-6)


def test_a_run_is_the_method_in_a_plain_loop(lbfgs, arena):
    made, task = lbfgs
    run = made.alone(task, Winner(GRID[0], None), 0)
    problem, params = arena.problem, arena.starts[0]

    def value_fn(params):
        return problem.objective(params, problem.split.train)

    tx = task.entry.builder(GRID[0])

    @jax.jit
    def step(params, state):
        value, grad = jax.value_and_grad(value_fn)(params)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=value_fn)
        return optax.apply_updates(params, updates), state

    state, losses = tx.init(params), [float(value_fn(params))]
    with precision.highest():
        for _ in range(run.steps[-1]):
            params, state = step(params, state)
            losses.append(float(value_fn(params)))
    np.testing.assert_allclose(run.loss, [losses[step] for step in run.steps], rtol=1e-3)


def test_the_empirical_natural_gradient_is_handed_the_losses_of_the_examples(arena, pool):
    made, task = driver(arena, pool, "empirical_natural_gradient", 8.0)
    run = made.alone(task, Winner(GRID[1], None), 0)
    assert run.loss[-1] < 0.8 * run.loss[0]
    assert run.counts["ggnvp"] > 0


def test_newton_gets_its_least_steps_beyond_the_budget(arena, pool):
    made, task = driver(arena, pool, "newton", 1.0)
    run = made.alone(task, Winner(GRID[0], None), 0)
    assert task.entry.steps > 1
    assert run.steps[-1] == run.counts["hessian"] == task.entry.steps
    assert run.cost[-1] > 40 * task.entry.steps
    assert run.status == "budget"


# How runs end, on a bowl whose minimum is known


def bowl(x):
    return 0.5 * jnp.sum((x - 1) ** 2)


@pytest.fixture(scope="module")
def ended(arena):
    """Run a method on a function of three numbers, from 0 to an end; the carry there, and the word for the end."""

    def ended(function, *, name="lbfgs", budget=1e6, least=0, last=1000, start=None):
        problem = arena.problem._replace(outputs=lambda p, _: p["x"], outputs_loss=lambda x, _: function(x))
        build, data = catalog.entry(name).builder, problem.split.train
        params, damping = {"x": jnp.zeros(3)}, jnp.asarray(1e-3)
        carry = second_order.begin(build, damping, params)
        start = function(params["x"]) if start is None else jnp.asarray(start)
        limits = (tuple(map(jnp.asarray, RATES.vector)), jnp.asarray(budget), np.int32(least), np.int32(last))
        carry = jax.jit(second_order.advance(problem, build))(damping, params, carry, start, data, *limits)
        return carry, second_order.STATUS[int(carry.status)]

    return ended


@pytest.mark.parametrize("name", ["lbfgs", "newton_cg", "newton"])
def test_a_gradient_of_nothing_is_converged(ended, name):
    carry, status = ended(bowl, name=name)
    assert status == "converged"
    np.testing.assert_allclose(carry.params["x"], 1.0, atol=1e-5)


def test_a_line_search_that_finds_nothing_is_stalled(ended):
    def pit(x):  # higher everywhere but at the start, where its gradient does not show that
        return 2 + jnp.where(jnp.all(x == 0), 0.0, 1.0) + jnp.sum(x) - jax.lax.stop_gradient(jnp.sum(x))

    carry, status = ended(pit)
    assert (status, int(carry.steps)) == ("stalled", 1)
    np.testing.assert_array_equal(carry.params["x"], 0.0)


@pytest.mark.parametrize(("least", "steps"), [(0, 1), (3, 3), (5, 5)])
def test_a_spent_budget_ends_a_run_after_its_least_steps(ended, least, steps):
    def rosenbrock(x):
        return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    carry, status = ended(rosenbrock, budget=0.5, least=least)
    assert (status, int(carry.steps)) == ("budget", steps)
    assert float(carry.cost) >= 0.5


def test_a_run_stops_at_the_step_that_it_is_told(ended):
    carry, status = ended(lambda x: jnp.sum(jnp.cosh(x - 2)), last=1)
    assert (status, int(carry.steps)) == ("running", 1)


@pytest.mark.parametrize("function", [lambda x: jnp.nan * jnp.sum(x), lambda x: 10.0 + jnp.sum(x**2 - x)])
def test_a_loss_above_three_times_the_start_or_not_a_number_is_diverged(ended, function):
    _, status = ended(function, start=1.0)
    assert status == "diverged"


def test_pieces_of_a_run_are_the_same_bits(arena, lbfgs):
    problem, build = arena.problem, lbfgs[1].entry.builder
    damping, params, start = jnp.asarray(GRID[0]), arena.starts[0], arena.losses[0]
    fixed = (start, problem.split.train, tuple(map(jnp.asarray, RATES.vector)), jnp.asarray(30.0), np.int32(0))
    run = jax.jit(second_order.advance(problem, build))
    begin = second_order.begin(build, damping, params)
    whole = run(damping, params, begin, *fixed, np.int32(6))
    carry = begin
    for last in (1, 2, 6):
        carry = run(damping, params, carry, *fixed, np.int32(last))
    jax.tree.map(np.testing.assert_array_equal, carry.params, whole.params)
    assert float(whole.cost) == float(carry.cost)
