"""Starting points and batch orders: the same for every optimizer."""

from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from jax231.compare import problems
from jax231.compare.arena import Arena, exploded, shuffles
from jax231.core import tree


@pytest.fixture(scope="module")
def problem():
    return problems.build("softmax", problems.load("digits", examples=60))


@pytest.fixture(scope="module")
def arena(problem):
    with ThreadPoolExecutor(1) as pool:
        yield Arena(problem, (0, 5), 16, pool)


@pytest.mark.parametrize(("examples", "batch", "steps"), [(12, 4, 9), (10, 4, 10), (7, 7, 3), (5, 3, 1), (8, 1, 20)])
def test_every_pass_shows_every_example_once(examples, batch, steps):
    order = shuffles(examples, batch, steps, 3)
    assert order.shape == (steps, batch)
    stream = order.ravel()
    for begin in range(0, len(stream), examples):  # batches may span two passes
        part = stream[begin : begin + examples]
        assert len(set(part)) == len(part)
        assert len(part) < examples or set(part) == set(range(examples))


def test_an_order_is_its_seed_and_longer_ones_begin_like_it():
    short, long = shuffles(50, 8, 10, 1), shuffles(50, 8, 40, 1)
    np.testing.assert_array_equal(short, long[:10])
    np.testing.assert_array_equal(short, shuffles(50, 8, 10, 1))
    assert (short != shuffles(50, 8, 10, 2)).any()
    assert (long[:6].ravel()[:48] != long[7:13].ravel()[:48]).any()  # passes differ


def test_the_orders_of_an_arena_are_the_shuffles(arena):
    for steps in (3, 12, 5):
        np.testing.assert_array_equal(arena.order(5, steps), shuffles(60, 16, steps, 5))


def test_starts_are_those_of_the_seeds(arena, problem):
    for seed in (0, 5):
        params, _ = problem.model.init(jax.random.key(seed))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), arena.starts[seed], params)
        np.testing.assert_allclose(arena.losses[seed], problem.objective(params, problem.split.train), rtol=1e-6)
    assert arena.parameters == 650
    assert float(tree.norm(jax.tree.map(lambda a, b: a - b, arena.starts[0], arena.starts[5]))) > 1e-3


def test_a_measurement_is_the_objective_and_the_share_that_is_right(arena, problem):
    params = arena.starts[0]
    for part in (problem.split.test, problem.split.validation):
        loss, share = arena.measure(params, part)
        scores, _ = problem.model.apply(params, {}, part.inputs, train=False)
        assert share == pytest.approx(float((np.asarray(scores).argmax(1) == part.targets).mean()), rel=1e-6)
        assert loss == pytest.approx(float(arena.losses[0]), rel=1e-6)


@pytest.mark.parametrize(("batch", "used"), [(0, 60), (60, 60), (1000, 60), (7, 7)])
def test_a_batch_is_at_most_all_examples(problem, batch, used):
    with ThreadPoolExecutor(1) as pool:
        assert Arena(problem, (0,), batch, pool).batch == used


@pytest.mark.parametrize("bound", [0.0, 0.5])
def test_a_loss_has_exploded_above_three_times_the_start(problem, bound):
    raised = problem._replace(lower_bound=bound)
    start = 2.5
    limit = bound + 3 * (start - bound)
    losses = np.array([start, 0.0, limit - 0.01, limit + 0.01, np.inf, np.nan, -np.inf])
    found = [bool(exploded(raised, jax.numpy.asarray(loss), jax.numpy.asarray(start))) for loss in losses]
    assert found == [False, False, False, True, True, True, False]
