import functools
import operator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim.adagrad import adagrad
from jax231.optim.adam import adam
from jax231.optim.family import COEFFICIENTS, Coefficients, coefficients, family, stack
from jax231.optim.momentum import momentum
from jax231.optim.nesterov import nesterov
from jax231.optim.rmsprop import rmsprop
from jax231.optim.sgd import sgd
from tests.problems import quadratic
from tests.trajectories import replay, small_net, trajectory

SINGLES = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
}
SETTINGS = [(name, {}) for name in SINGLES] + [
    ("momentum", {"decay": 0.5}),
    ("nesterov", {"decay": 0.99}),
    ("adagrad", {"initial_accumulator": 0.1, "eps_inside_root": True}),
    ("adagrad", {"eps": 1e-10}),
    ("rmsprop", {"decay": 0.99, "eps": 1e-6, "eps_inside_root": False}),
    ("adam", {"b1": 0.0, "b2": 0.9, "eps": 1e-4}),
]


def test_it_has_every_rule_it_is_compared_with():
    assert set(COEFFICIENTS) == set(SINGLES)


@pytest.mark.parametrize(("on", "settings"), [("quadratic", SETTINGS), ("net", SETTINGS[: len(SINGLES)])])
def test_every_member_is_its_own_builder_in_one_program(on, settings, x64):
    fun, start = small_net() if on == "net" else quadratic()[:2]
    rates = jnp.linspace(1e-3, 4e-3, len(settings))
    lanes = stack([coefficients(name, **options) for name, options in settings])

    def run(rate, numbers):
        return trajectory(lambda r: family(r, numbers), fun, start, jnp.full(100, rate))

    points = jax.jit(jax.vmap(run))(rates, lanes)
    for lane, (name, options) in enumerate(settings):
        single = functools.partial(SINGLES[name], **options)
        expected = trajectory(single, fun, start, jnp.full(100, rates[lane]))
        own = jax.tree.map(operator.itemgetter(lane), points)
        chex.assert_trees_all_close(own, expected, rtol=1e-12, atol=1e-12)


def test_rules_rates_and_seeds_are_lanes_of_one_program():
    fun, start = small_net()
    numbers = stack([coefficients(name) for name in SINGLES])
    starts = jax.tree.map(lambda x: jnp.stack([jnp.float32(x), jnp.float32(x) + 0.1]), start)
    traces = []

    def run(numbers, rate, start):
        traces.append(rate)
        last = trajectory(lambda r: family(r, numbers), fun, start, jnp.full(5, rate))
        return fun(jax.tree.map(lambda x: x[-1], last))

    over_seeds = jax.vmap(run, (None, None, 0))
    sweep = jax.jit(jax.vmap(jax.vmap(over_seeds, (None, 0, None)), (0, None, None)))
    losses = sweep(numbers, jnp.array([1e-3, 1e-2, 1e-1]), starts)
    again = sweep(jax.tree.map(lambda x: x[::-1], numbers), jnp.array([1e-3, 1e-2, 1e-1]), starts)
    assert len(traces) == 1
    assert losses.shape == (6, 3, 2)
    assert jnp.isfinite(losses).all()
    chex.assert_trees_all_close(again, losses[::-1], rtol=1e-5)


def test_zero_gradients_give_zero_steps_and_finite_derivatives():
    def last(rate, numbers, scale):
        return replay(family(rate, numbers), jnp.zeros(2), scale * jnp.ones((3, 2)))[-1].sum()

    lanes = stack([coefficients(name) for name in SINGLES])
    every = jax.jit(jax.vmap(jax.value_and_grad(last, argnums=(0, 1, 2)), (None, 0, None)))
    values, slopes = every(0.1, lanes, 0.0)
    assert not values.any()
    assert all(np.isfinite(slope).all() for slope in jax.tree.leaves(slopes))


def test_without_eps_a_zero_gradient_is_still_no_step():
    numbers = coefficients("adam", eps=0.0)
    assert not replay(family(0.1, numbers), jnp.zeros(2), jnp.zeros((3, 2))).any()


def test_an_unused_second_moment_does_not_overflow():
    gradient = jnp.array([1e30, -1e30])
    tx = family(1.0, coefficients("sgd"))
    chex.assert_trees_all_close(tx.update(gradient, tx.init(gradient))[0], -gradient)


def test_derivatives_of_a_run_are_those_of_the_single_rule(x64):
    """Hypergradients: first and second derivative of the final loss by the rate, through ten steps."""
    fun, start, _, _ = quadratic()

    def loss(builder, rate):
        return fun(jax.tree.map(lambda x: x[-1], trajectory(builder, fun, start, jnp.full(10, rate))))

    def slopes(builder):
        return jax.jit(jax.jvp, static_argnums=0)(jax.grad(functools.partial(loss, builder)), (0.05,), (1.0,))

    chex.assert_trees_all_close(slopes(lambda rate: family(rate, coefficients("adam"))), slopes(adam), rtol=1e-9)


def test_stack_keeps_the_lanes_in_order():
    lanes = stack([Coefficients(m_decay=0.1), Coefficients(m_decay=1)])
    chex.assert_trees_all_close(lanes.m_decay, jnp.array([0.1, 1.0]))
    assert all(x.shape == (2,) and not x.weak_type for x in lanes)


def test_an_unknown_rule_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"coefficients: expected one of sgd, momentum, .*adam; got name='adam_w'"):
        coefficients("adam_w")


def test_numbers_out_of_range_are_refused_as_by_the_builder():
    with pytest.raises(ValueError, match=r"momentum: expected decay within \[0, 1\]; got decay=1.5"):
        coefficients("momentum", decay=1.5)
    with pytest.raises(ValueError, match=r"adam: expected eps of at least 0; got eps=-1.0"):
        coefficients("adam", eps=-1.0)


def test_it_ignores_the_extra_arguments_of_the_one_call():
    params = {"w": jnp.ones(2)}
    tx = family(0.1, coefficients("sgd"))
    updates, _ = tx.update(params, tx.init(params), params, value=1.0, grad=params, value_fn=lambda p: p["w"].sum())
    chex.assert_trees_all_close(optax.apply_updates(params, updates), {"w": jnp.full(2, 0.9)})
