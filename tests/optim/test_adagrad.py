import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim.adagrad import adagrad
from tests.problems import quadratic
from tests.trajectories import replay, trajectory


def adagrad_loop(x, gradients, rate, initial, eps, inside):
    """The definition with its two switches; an entry without any gradient so far stays where it is."""
    square = np.full_like(x, initial)
    for g in gradients:
        square = square + g**2
        denominator = np.sqrt(square + eps) if inside else np.sqrt(square) + eps
        x = x - rate * np.divide(g, denominator, out=np.zeros_like(x), where=denominator > 0)
        yield x


@pytest.mark.parametrize("initial", [0.0, 0.1])
@pytest.mark.parametrize("eps", [0.0, 1e-7, 1e-2])
@pytest.mark.parametrize("inside", [False, True])
def test_every_switch_is_its_definition(initial, eps, inside, x64):
    gradients = np.random.default_rng(0).normal(size=(100, 4)) * np.array([1e-4, 1.0, 1e4, 0.0])
    tx = adagrad(0.1, initial_accumulator=initial, eps=eps, eps_inside_root=inside)
    expected = np.stack(list(adagrad_loop(np.zeros(4), gradients, 0.1, initial, eps, inside)))
    chex.assert_trees_all_close(replay(tx, np.zeros(4), gradients), expected, rtol=1e-12, atol=1e-14)
    assert not expected[:, 3].any()


@pytest.mark.parametrize("initial", [0.1, 0.0])
def test_optax_switches_follow_optax(initial, x64):
    fun, start, _, _ = quadratic()
    rates = np.full(100, 0.1)

    def ours(rate):
        return adagrad(rate, initial_accumulator=initial, eps=1e-7, eps_inside_root=True)

    theirs = trajectory(lambda rate: optax.adagrad(rate, initial, 1e-7), fun, start, rates)
    chex.assert_trees_all_close(trajectory(ours, fun, start, rates), theirs, rtol=1e-12, atol=1e-14)


def test_optax_switches_follow_optax_on_zero_gradients(x64):
    gradients = np.zeros((100, 2))
    gradients[50:, 1] = 1.0
    ours = replay(adagrad(0.1, eps_inside_root=True), np.ones(2), gradients)
    chex.assert_trees_all_close(ours, replay(optax.adagrad(0.1, 0.0, 1e-7), np.ones(2), gradients), rtol=1e-13)


def test_a_constant_gradient_gives_steps_that_shrink_as_one_over_the_root(x64):
    points = np.asarray(replay(adagrad(1.0, eps=0.0), np.zeros(1), np.full((100, 1), -3.0)))[:, 0]
    chex.assert_trees_all_close(np.diff(points), 1 / np.sqrt(np.arange(2, 101)), rtol=1e-12)


def test_the_first_steps_do_not_depend_on_the_scale_of_the_gradient():
    small = replay(adagrad(0.1, eps=0.0), np.zeros(3), np.float32([[1e-3, -1e-3, 0]]))
    chex.assert_trees_all_close(small, jnp.array([[-0.1, 0.1, 0.0]]), rtol=1e-6)


@pytest.mark.parametrize("eps", [0.0, 1e-7])
def test_derivative_by_the_gradient_is_finite_at_zero(eps):
    tx = adagrad(0.1, eps=eps)
    slope = jax.grad(lambda g: tx.update(g, tx.init(g))[0].sum())(jnp.zeros(2))
    assert np.isfinite(slope).all()
