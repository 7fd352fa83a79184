"""Exchange rates: which are measured, and that they have the order of what they stand for."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from jax231.compare import problems
from jax231.compare.arena import Arena
from jax231.compare.costs import Meter, Rates
from jax231.optim.counts import Counts


@pytest.fixture(scope="module")
def arena():
    with ThreadPoolExecutor(2) as pool:
        yield Arena(problems.build("softmax", problems.load("digits", examples=400)), (0,), 0, pool)


def test_the_vector_is_in_the_order_of_the_counts():
    rates = Rates(gradient_seconds=1e-3, loss=0.5, hvp=2.0, hessian=100.0, spread={}, ggnvp=1.5)
    assert Counts(*rates.vector) == Counts(loss=0.5, gradient=1.0, hvp=2.0, hessian=100.0, ggnvp=1.5)


def test_only_what_is_needed_is_measured(arena):
    with ThreadPoolExecutor(2) as pool:
        meter = Meter(arena, (), pool)
        assert len(meter.programs) == 1
        rates = meter.measure(rounds=3)
    assert rates.gradient_seconds > 0
    assert (rates.loss, rates.hvp, rates.hessian) == (0, 0, 0)
    assert set(rates.spread) == {"gradient"}


def test_what_a_hessian_costs(arena):
    with ThreadPoolExecutor(2) as pool:
        rates = Meter(arena, ("loss", "hvp", "hessian"), pool).measure(rounds=5)
    assert set(rates.spread) == {"gradient", "loss", "hvp", "hessian"}
    assert all(spread >= 0 for spread in rates.spread.values())
    # far wider than what they are: the machine may be busy with other things
    assert 0 <= rates.loss < 20
    assert 0 <= rates.hvp < 50
    assert rates.hessian > 5 * max(rates.loss, 1)
