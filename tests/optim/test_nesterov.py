import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim.nesterov import nesterov, nesterov_lookahead, nesterov_optax
from tests.problems import quadratic
from tests.trajectories import replay, small_net, trajectory

DECAY = 0.9
DROP = np.where(np.arange(100) < 50, 2e-3, 2e-4)


def objective(name):
    return small_net() if name == "net" else quadratic()[:2]


def lookahead_points(fun, start, rates, decay=DECAY):
    """The points x + decay * v of the look-ahead form, which the other two forms call x; v is the step just taken."""
    points = trajectory(lambda rate: nesterov_lookahead(rate, decay), fun, start, rates)

    def ahead(x, first):
        before = jnp.concatenate([jnp.asarray(first)[None], x[:-1]])
        return x + decay * (x - before)

    return jax.tree.map(ahead, points, start)


@pytest.mark.parametrize("name", ["quadratic", "net"])
def test_the_three_forms_are_one_at_a_constant_rate(name, x64):
    fun, start = objective(name)
    rates = np.full(100, 0.004)
    course = trajectory(nesterov, fun, start, rates)
    chex.assert_trees_all_close(trajectory(nesterov_optax, fun, start, rates), course, rtol=1e-11, atol=1e-12)
    chex.assert_trees_all_close(lookahead_points(fun, start, rates), course, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["quadratic", "net"])
def test_under_a_schedule_the_course_keeps_to_the_look_ahead_and_optax_does_not(name, x64):
    fun, start = objective(name)
    course = trajectory(nesterov, fun, start, DROP)
    outside = trajectory(nesterov_optax, fun, start, DROP)
    chex.assert_trees_all_close(lookahead_points(fun, start, DROP), course, rtol=1e-11, atol=1e-12)
    apart = [np.abs(a - b) for a, b in zip(jax.tree.leaves(course), jax.tree.leaves(outside), strict=True)]
    assert max(x[:50].max() for x in apart) < 1e-12  # before the drop
    assert max(x[50:].max() for x in apart) > 1e-3


def test_when_the_rate_drops_to_zero_the_course_coasts_and_optax_stops(x64):
    gradients = np.ones((60, 1))
    rate = 0.1

    def steps(builder):
        points = replay(builder(lambda t: jnp.where(t < 10, rate, 0.0), DECAY), np.zeros(1), gradients)[:, 0]
        return np.diff(np.asarray(points))[9:]  # the steps after the drop

    velocity = -rate * sum(DECAY**k for k in range(10))
    coasting = velocity * DECAY ** np.arange(2, 52)
    chex.assert_trees_all_close(steps(nesterov), coasting, rtol=1e-10)
    chex.assert_trees_all_close(steps(nesterov_optax), np.zeros(50), atol=0)


def test_optax_form_is_that_of_optax_under_a_schedule(x64):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(100, 5))

    def schedule(t):
        return 0.1 / (1 + t)

    ours = replay(nesterov_optax(schedule, 0.8), np.zeros(5), gradients)
    chex.assert_trees_all_close(
        ours, replay(optax.sgd(schedule, 0.8, nesterov=True), np.zeros(5), gradients), rtol=1e-13
    )


@pytest.mark.parametrize("builder", [nesterov, nesterov_optax])
def test_without_decay_it_is_gradient_descent(builder, x64):
    gradients = np.random.default_rng(1).normal(size=(20, 3))
    chex.assert_trees_all_close(
        replay(builder(0.1, 0.0), np.zeros(3), gradients), -0.1 * np.cumsum(gradients, 0), rtol=1e-13
    )


def test_look_ahead_counts_two_gradients_a_step():
    tx = nesterov_lookahead(0.1)
    params = {"w": jnp.ones(2)}
    state = tx.init(params)
    for _ in range(3):
        _, state = tx.update(params, state, params, value_fn=lambda p: (p["w"] ** 2).sum())
    assert state.counts.gradient == 6


def test_look_ahead_says_what_it_needs():
    tx = nesterov_lookahead(0.1)
    params = {"w": jnp.ones(2)}
    with pytest.raises(
        ValueError, match=r"nesterov_lookahead: expected params and value_fn in update; got value_fn=None"
    ):
        tx.update(params, tx.init(params), params)
    with pytest.raises(ValueError, match="got params=None"):
        tx.update(params, tx.init(params), value_fn=lambda p: p["w"].sum())
