import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.optim import average
from tests.derivatives import relative_error

POINTS = {"w": np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)}


def averages(add, points):
    def step(state, params):
        state = add(state, params)
        return state, average.value(state, params)

    first = jax.tree.map(lambda x: x[0], points)
    return jax.jit(lambda points: jax.lax.scan(step, average.start(first), points)[1])(points)


def test_polyak_is_the_mean_so_far():
    means = np.cumsum(POINTS["w"], 0, dtype=np.float64) / np.arange(1, 31)[:, None]
    assert relative_error(averages(average.polyak, POINTS)["w"], means) <= 1e-6


def test_the_moving_average_is_corrected_for_its_start():
    m, expected = 0.0, []
    for t, x in enumerate(POINTS["w"].astype(np.float64), 1):
        m = 0.9 * m + 0.1 * x
        expected.append(m / (1 - 0.9**t))
    found = averages(lambda state, x: average.ema(state, x, jnp.float32(0.9)), POINTS)["w"]
    assert relative_error(found, np.stack(expected)) <= 1e-6
    chex.assert_trees_all_close(found[0], POINTS["w"][0])
    assert not averages(lambda state, x: average.ema(state, x, 1.0), POINTS)["w"].any()  # nothing was ever added


def test_a_mean_of_bfloat16_parameters_keeps_moving():
    """In bfloat16 the 1000th parameter would change nothing."""
    points = {"w": jnp.concatenate([jnp.ones((1000, 1)), jnp.full((1000, 1), 3.0)]).astype(jnp.bfloat16)}
    means = averages(average.polyak, points)["w"]
    assert means.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(means[-1]), 2.0, rtol=1e-2)


def test_a_decay_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"ema: expected decay within \[0, 1\]; got decay=1.5"):
        average.ema(average.start(POINTS), POINTS, 1.5)
