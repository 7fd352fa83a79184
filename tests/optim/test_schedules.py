import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim import schedules
from jax231.optim.momentum import momentum
from tests.replays import hard_gradients, start
from tests.trajectories import replay

STEPS = np.arange(60)


def sgdr_by_loop(rate, period, growth, end):
    """Period after period, as the paper counts them."""
    passed, length = 0, period
    for _ in STEPS:
        yield end + (rate - end) * (1 + np.cos(np.pi * passed / length)) / 2
        passed += 1
        if passed >= length:
            passed, length = passed - length, length * growth


def half(a, b, share):
    return b + (a - b) * (1 + np.cos(np.pi * share)) / 2


CASES = {
    "constant": (schedules.constant, (0.3,), np.full(60, 0.3)),
    "step_decay": (schedules.step_decay, (0.1, 10, 0.5), 0.1 * 0.5 ** (STEPS // 10)),
    "milestones": (
        lambda rate, a, b, factor: schedules.milestones(rate, (a, b), factor),
        (0.1, 5, 40, 0.2),
        0.1 * 0.2 ** ((STEPS >= 5).astype(float) + (STEPS >= 40)),
    ),
    "exponential": (schedules.exponential, (0.1, 0.05), 0.1 * np.exp(-0.05 * STEPS)),
    "inverse_time": (schedules.inverse_time, (0.1, 0.05), 0.1 / (1 + 0.05 * STEPS)),
    "cosine": (
        schedules.cosine,
        (0.1, 40, 0.01),
        np.where(STEPS < 40, 0.01 + 0.09 * (1 + np.cos(np.pi * STEPS / 40)) / 2, 0.01),
    ),
    "warm_restarts": (schedules.warm_restarts, (0.1, 4, 2, 0.01), np.array(list(sgdr_by_loop(0.1, 4, 2, 0.01)))),
    "even restarts": (schedules.warm_restarts, (0.1, 7, 1, 0.0), np.array(list(sgdr_by_loop(0.1, 7, 1, 0.0)))),
    "long restarts": (schedules.warm_restarts, (0.1, 5, 3, 0.0), np.array(list(sgdr_by_loop(0.1, 5, 3, 0.0)))),
    "warm_up": (
        lambda rate, decay, steps, first: schedules.warm_up(schedules.inverse_time(rate, decay), steps, first),
        (0.1, 0.05, 8, 0.2),
        np.where(STEPS < 8, 0.1 * (0.2 + 0.8 * STEPS / 8), 0.1 / (1 + 0.05 * (STEPS - 8))),
    ),
    "no warm_up": (lambda rate, steps: schedules.warm_up(schedules.constant(rate), steps), (0.1, 0), np.full(60, 0.1)),
    "one_cycle": (
        schedules.one_cycle,
        (1.0, 50),
        np.where(STEPS < 15, half(0.04, 1.0, STEPS / 15), half(1.0, 4e-6, np.clip((STEPS - 15) / 35, 0, 1))),
    ),
    "range_test": (schedules.range_test, (1e-4, 1e0, 60), np.geomspace(1e-4, 1e0, 60)),
}


@pytest.mark.usefixtures("x64")
def test_schedules_are_their_definitions_with_every_number_traced():
    def rates(numbers):
        return {name: jax.vmap(CASES[name][0](*args))(jnp.asarray(STEPS)) for name, args in numbers.items()}

    traced = jax.jit(rates)({name: tuple(map(float, args)) for name, (_, args, _) in CASES.items()})
    chex.assert_trees_all_close(traced, {name: x for name, (_, _, x) in CASES.items()}, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_they_are_those_of_optax():
    pairs = [
        (schedules.cosine(0.1, 40, 0.01), optax.cosine_decay_schedule(0.1, 40, 0.1)),
        (schedules.exponential(0.1, 0.05), optax.exponential_decay(0.1, 1, np.exp(-0.05))),
        (schedules.warm_up(schedules.cosine(0.1, 30), 10), optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 40)),
        (schedules.one_cycle(1.0, 50), optax.cosine_onecycle_schedule(50, 1.0, 0.3, 25.0, 1e4)),
    ]
    ours, theirs = jax.jit(lambda t: tuple([jax.vmap(pair[i])(t) for pair in pairs] for i in (0, 1)))(STEPS)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12, atol=1e-15)


def test_restarts_fall_on_their_steps_even_in_float32():
    starts = np.cumsum([0] + [3 * 2**n for n in range(14)])
    rates = jax.jit(jax.vmap(schedules.warm_restarts(1.0, 3)))
    np.testing.assert_array_equal(rates(starts), 1.0)
    assert (rates(starts - 1)[1:] < 0.3).all()


@pytest.mark.usefixtures("x64")
def test_a_sweep_over_schedules_is_one_program():
    gradients = hard_gradients(steps=20)
    traces = []

    def last(rate, steps):
        traces.append(rate)
        return replay(momentum(schedules.cosine(rate, steps)), start(gradients), gradients)[-1]

    ends = jax.jit(jax.vmap(last))(jnp.array([0.1, 0.2, 0.1]), jnp.array([10, 10, 20]))
    assert len(traces) == 1
    assert len({float(x[0]) for x in ends}) == 3


def test_the_steepest_rate_lies_where_the_loss_falls():
    rates = np.geomspace(1e-5, 1e1, 121)
    loss = 2.3 - 1.5 / (1 + np.exp(-4 * np.log10(rates / 1e-2)))  # steepest at 1e-2
    loss = np.where(rates > 0.5, np.nan, loss)
    steepest = jax.jit(schedules.steepest)
    assert 0.5e-2 < steepest(rates, loss, 0.0) < 2e-2
    assert 0.5e-2 < steepest(rates, loss, 0.9) < 1e-1  # the mean comes late
    exploded = np.where(rates > 1e-3, 100.0, loss)
    exploded[-1] = -1e6  # after the explosion nothing counts
    assert steepest(rates, exploded, 0.0) <= 1.1e-3
    assert np.isnan(steepest(rates, np.linspace(1, 2, 121), 0.0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: schedules.cosine(0.0, 10), "cosine: expected rate above 0; got rate=0.0"),
        (lambda: schedules.step_decay(0.1, 0), "step_decay: expected every above 0; got every=0"),
        (lambda: schedules.exponential(0.1, -1.0), "exponential: expected decay of at least 0"),
        (lambda: schedules.warm_restarts(0.1, 5, 0.5), "warm_restarts: expected growth of at least 1; got growth=0.5"),
        (lambda: schedules.warm_up(schedules.constant(0.1), 5, 2.0), r"warm_up: expected start within \[0, 1\]"),
        (lambda: schedules.one_cycle(0.1, 10, rise=1.5), r"one_cycle: expected rise within \[0, 1\]; got rise=1.5"),
        (lambda: schedules.steepest(np.ones(3), np.ones(4)), r"steepest: expected as many losses as rates"),
    ],
)
def test_numbers_out_of_range_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
