import chex
import numpy as np
import pytest

from jax231.optim.nadam import nadam
from tests.replays import by_loop, by_torch, hard_gradients, start
from tests.trajectories import replay


def nadam_loop(x, gradients, rate, b1=0.9, b2=0.999, eps=1e-8):
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        ahead = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        x = x - rate * ahead / (np.sqrt(v / (1 - b2**t)) + eps)
        yield x


@pytest.mark.usefixtures("x64")
def test_it_is_its_definition_and_that_of_pytorch_without_its_schedule():
    gradients = hard_gradients()
    points = replay(nadam(0.05), start(gradients), gradients)
    expected = by_loop(nadam_loop(start(gradients), gradients, 0.05))
    chex.assert_trees_all_close(points, expected, rtol=1e-12, atol=1e-12)
    peer = by_torch("NAdam", gradients, 0.05, momentum_decay=1e4)
    chex.assert_trees_all_close(points, peer, atol=1e-6)  # PyTorch multiplies the b1 in float32
    assert np.abs(by_torch("NAdam", gradients, 0.05) - expected).max() > 1e-3


def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"nadam: expected rate above 0; got rate=-1.0"):
        nadam(-1.0)
    with pytest.raises(ValueError, match=r"nadam: expected b2 within \[0, 1\]; got b2=2.0"):
        nadam(0.1, b2=2.0)
