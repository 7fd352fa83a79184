import chex
import numpy as np
import pytest

from jax231.optim.adamw import adamw
from jax231.optim.paths import kernels
from tests.replays import by_loop, by_torch, hard_gradients, start
from tests.trajectories import replay


def adamw_loop(x, gradients, rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-2):
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        step = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        x = x - rate * (step + weight_decay * x)
        yield x


@pytest.mark.usefixtures("x64")
def test_it_is_its_definition_and_that_of_pytorch():
    gradients = hard_gradients()
    points = replay(adamw(0.05), start(gradients), gradients)
    expected = by_loop(adamw_loop(start(gradients), gradients, 0.05))
    chex.assert_trees_all_close(points, expected, rtol=1e-12, atol=1e-12)
    chex.assert_trees_all_close(by_torch("AdamW", gradients, 0.05), expected, rtol=1e-12, atol=1e-12)


def test_only_what_is_chosen_decays():
    params = {"conv": {"kernel": np.ones(2, np.float32), "bias": np.ones(2, np.float32)}}
    zeros = {"conv": {"kernel": np.zeros(2, np.float32), "bias": np.zeros(2, np.float32)}}
    tx = adamw(0.5, weight_decay=0.1, decayed=kernels)
    updates, _ = tx.update(zeros, tx.init(params), params)
    chex.assert_trees_all_close(updates, {"conv": {"kernel": np.full(2, -0.05), "bias": np.zeros(2)}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, r"adamw: expected rate above 0; got rate=0.0"),
        ({"rate": 0.1, "b1": 1.5}, r"adamw: expected b1 within \[0, 1\]; got b1=1.5"),
        ({"rate": 0.1, "weight_decay": -0.1}, "adamw: expected weight_decay of at least 0; got weight_decay=-0.1"),
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        adamw(**options)
