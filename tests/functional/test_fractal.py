import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional import global_path, join, join_weights, local_paths
from tests.derivatives import relative_error

KEY = jax.random.key(0)
BRANCHES = [np.random.default_rng(k).normal(size=(2, 3, 4)).astype(np.float32) for k in range(3)]


def test_a_join_is_a_mean():
    assert relative_error(join(BRANCHES), np.mean(BRANCHES, 0)) <= 1e-6
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], np.float32)
    expected = np.stack([(BRANCHES[0][0] + BRANCHES[1][0]) / 2, BRANCHES[2][1]])
    assert relative_error(join(BRANCHES, weights), expected) <= 1e-6
    assert relative_error(join(BRANCHES, weights[:1]), (BRANCHES[0] + BRANCHES[1]) / 2) <= 1e-6


def test_a_join_of_bfloat16_is_summed_in_float32():
    branches = [jnp.full(1, 256, jnp.bfloat16), *[jnp.ones(1, jnp.bfloat16)] * 2]  # 256 + 1 is no bfloat16
    y = join(branches, jnp.ones((1, 3)))
    assert (y.dtype, y[0]) == (jnp.bfloat16, 258)


def test_local_drop_path_never_drops_all():
    n, rates = 4000, np.array([0.0, 0.15, 0.9, 1.0])
    weights = np.asarray(jax.jit(jax.vmap(lambda rate: local_paths(KEY, rate, n, 3)))(rates))
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    kept = weights > 0
    assert ((weights == 0) | np.isclose(weights * kept.sum(-1, keepdims=True), 1)).all(), "those left count alike"
    # Kept with 1 - rate, or alone of three where all would fall.
    expected = 1 - rates + rates**3 / 3
    np.testing.assert_allclose(kept.mean(1), np.tile(expected[:, None], 3), atol=0.03)
    assert kept[0].all()
    assert (kept[3].sum(-1) == 1).all()


def test_a_global_path_is_one_column_or_none():
    n, rates = 4000, np.array([0.0, 0.5, 1.0])
    chosen = np.asarray(jax.jit(jax.vmap(lambda rate: global_path(KEY, rate, n, 4)))(rates))
    assert set(np.unique(chosen)) == {0, 1}
    assert (chosen.sum(-1) <= 1).all()
    np.testing.assert_allclose(chosen.mean(1), np.tile(rates[:, None] / 4, 4), atol=0.03)


def test_weights_of_a_join_are_the_chosen_column_s():
    local = jnp.array([[0.0, 1.0]] * 4)
    chosen = jnp.array([[0.0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    expected = jnp.array([[0.0, 1.0], [0, 1], [1, 0], [0.5, 0.5]])
    chex.assert_trees_all_equal(join_weights(local, chosen), expected)


def test_rates_out_of_range():
    assert np.isnan(jax.jit(lambda rate: local_paths(KEY, rate, 2, 2))(1.5)).all()
    chosen = jax.jit(lambda rate: global_path(KEY, rate, 2, 3))(-0.1)
    assert np.isnan(join_weights(jnp.ones((2, 2)) / 2, chosen)).all()
    with pytest.raises(ValueError, match=r"local_paths: expected rate within \[0, 1\]; got rate=1.5"):
        local_paths(KEY, 1.5, 2, 2)
    with pytest.raises(ValueError, match=r"global_path: expected rate within \[0, 1\]; got rate=-0.1"):
        global_path(KEY, -0.1, 2, 2)


def test_branches_and_weights_that_do_not_fit():
    with pytest.raises(ValueError, match=r"join: expected branches of one shape; got shapes=\[\(2, 3\), \(2, 4\)\]"):
        join([jnp.ones((2, 3)), jnp.ones((2, 4))])
    with pytest.raises(ValueError, match=r"a weight for each branch of each example; got weights=\(3, 2\), examples=2"):
        join([jnp.ones((2, 3))] * 2, jnp.ones((3, 2)))
