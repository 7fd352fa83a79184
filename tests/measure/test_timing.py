import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.measure import timing
from jax231.measure.timing import interleaved, timed


class Clock:
    """A clock that goes on only when told to."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def work(self, durations):
        """A call that takes each of the durations in turn."""
        durations = itertools.cycle(durations)

        def call():
            self.now += next(durations)

        return call


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_calls_take_turns_after_two_warm_ones(clock):
    order = []
    calls = {name: (order.append, (name,)) for name in "abc"}
    for name in "abc":
        calls[name] = (lambda name: order.append(name) or setattr(clock, "now", clock.now + 0.01), (name,))
    interleaved(calls, repeats=4)
    assert "".join(order) == "aabbcc" + "abc" * 4


def test_the_median_and_the_spread_of_what_the_clock_shows(clock):
    calls = {"steady": (clock.work([2e-3]), ()), "unsteady": (clock.work([1e-3, 2e-3, 3e-3, 4e-3, 5e-3]), ())}
    found = interleaved(calls, repeats=5)
    assert found["steady"] == pytest.approx((2e-3, 0.0))
    assert found["unsteady"] == pytest.approx((3e-3, 2 / 3))


@pytest.mark.parametrize(("budget", "rounds"), [(0.0, 3), (0.45, 5), (100.0, 11)])
def test_the_budget_ends_it_after_three_rounds(clock, budget, rounds):
    seen = []

    def call():
        seen.append(clock.now)
        clock.now += 0.1

    interleaved({"call": (call, ())}, budget=budget)
    assert len(seen) == 2 + rounds


def test_the_warm_calls_are_not_timed(clock):
    found = interleaved({"slow at first": (clock.work([9.0, 9.0, 1.0, 1.0, 1.0]), ())}, repeats=3)
    assert found["slow at first"] == pytest.approx((1.0, 0.0))


def test_a_call_is_timed_until_its_result_is_there():
    x = jnp.ones((300, 300))
    product = jax.jit(lambda x: jax.lax.fori_loop(0, 20, lambda _, y: jnp.tanh(y @ x), x))
    product(x)
    result, seconds = timed(product, x)
    np.testing.assert_allclose(result, product(x))
    found = interleaved({"one": (product, (x,)), "other": (product, (x,))}, repeats=3)
    assert 0.2 < found["one"].median / found["other"].median < 5
    assert seconds > 1e-4


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="interleaved: expected at least one round; got repeats=0"):
        interleaved({}, repeats=0)
