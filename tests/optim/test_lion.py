import chex
import numpy as np
import pytest

from jax231.optim.lion import lion
from tests.replays import by_loop, hard_gradients, start
from tests.trajectories import replay


def lion_loop(x, gradients, rate, b1=0.9, b2=0.99, weight_decay=1e-3):
    m = 0
    for g in gradients:
        x = x - rate * (np.sign(b1 * m + (1 - b1) * g) + weight_decay * x)
        m = b2 * m + (1 - b2) * g
        yield x


@pytest.mark.usefixtures("x64")
def test_it_is_its_definition():
    gradients = hard_gradients()
    points = replay(lion(0.01), start(gradients), gradients)
    expected = by_loop(lion_loop(start(gradients), gradients, 0.01))
    chex.assert_trees_all_close(points, expected, rtol=1e-12, atol=1e-12)


def test_a_zero_gradient_moves_nothing():
    tx = lion(0.1, weight_decay=0.0)
    x = np.ones(3, np.float32)
    updates, _ = tx.update(0 * x, tx.init(x), x)
    assert not updates.any()


def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"lion: expected rate above 0; got rate=0.0"):
        lion(0.0)
    with pytest.raises(ValueError, match=r"lion: expected b1 within \[0, 1\]; got b1=-0.1"):
        lion(0.1, b1=-0.1)
