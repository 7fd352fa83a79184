import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional.dropout import drop_path, dropconnect, dropconnect_mean, dropout, stochastic_depth
from tests.derivatives import assert_derivatives

KEY = jax.random.key(0)
X = 1.0 + jax.random.uniform(jax.random.key(1), (6, 5))


def branch_at_zero(key, x, rate):
    return stochastic_depth(key, jnp.zeros_like(x), x, rate)


INVERTED = [dropout, drop_path, branch_at_zero]


def test_dropout_zeroes_entries_and_divides_the_others_by_the_share_that_is_kept():
    y = jax.jit(dropout)(KEY, X, 0.2)
    dropped = y == 0
    assert 0 < dropped.sum() < X.size
    chex.assert_trees_all_close(y, jnp.where(dropped, 0, X / 0.8), rtol=1e-6)


def test_drop_path_drops_whole_examples():
    y = drop_path(KEY, X, 0.5)
    dropped = y[:, 0] == 0
    assert 0 < dropped.sum() < len(X)
    chex.assert_trees_all_close(y, jnp.where(dropped[:, None], 0, X / 0.5))


def test_stochastic_depth_drops_the_branch_of_the_whole_batch():
    outcomes = [bool(jnp.all(branch_at_zero(key, X, 0.5) == 0)) for key in jax.random.split(KEY, 8)]
    assert 0 < sum(outcomes) < 8
    for key, dropped in zip(jax.random.split(KEY, 8), outcomes, strict=True):
        chex.assert_trees_all_close(stochastic_depth(key, -X, X, 0.5), -X if dropped else X)


def test_dropconnect_masks_weights_and_its_mean_is_the_mean_over_masks():
    y = dropconnect(KEY, X, 0.25)
    chex.assert_trees_all_equal(y, jnp.where(y == 0, 0, X))
    assert 0 < (y == 0).sum() < X.size
    mean = jax.vmap(lambda key: dropconnect(key, X, 0.25))(jax.random.split(KEY, 4000)).mean(0)
    np.testing.assert_allclose(mean, dropconnect_mean(X, 0.25), atol=5 * 2 * np.sqrt(0.25 * 0.75 / 4000))


@pytest.mark.parametrize("drop", INVERTED)
def test_the_expectation_is_the_input(drop):
    mean = jax.vmap(lambda key: drop(key, X, 0.3))(jax.random.split(KEY, 4000)).mean(0)
    np.testing.assert_allclose(mean, X, atol=5 * 2 * np.sqrt(0.3 / 0.7 / 4000))  # five standard errors, X below 2


def test_the_share_of_dropped_entries_is_the_rate():
    for rate in (0.1, 0.5, 0.9):
        share = np.mean(np.asarray(dropout(KEY, jnp.ones(100_000), rate)) == 0)
        assert abs(share - rate) <= 5 * np.sqrt(rate * (1 - rate) / 100_000)


@pytest.mark.parametrize("drop", [*INVERTED, dropconnect])
def test_rate_zero_is_the_identity_and_rate_one_is_zero_in_value_and_derivatives(drop):
    def total(x, rate):
        return jnp.sum(drop(KEY, x, rate) ** 3)

    for rate in (0.0, 1.0, 0, 1, jnp.float32(0), jnp.float32(1)):
        chex.assert_trees_all_equal(drop(KEY, X, rate), X if rate == 0 else jnp.zeros_like(X))
    for rate in (0.0, 1.0):
        value, gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(X, rate)
        chex.assert_tree_all_finite((value, gradients))
        chex.assert_trees_all_close(gradients[0], 3 * X**2 * (1 - rate))


@pytest.mark.parametrize("drop", [*INVERTED, dropconnect])
def test_a_sweep_over_traced_rates_is_one_program_and_a_rate_out_of_range_is_nan(drop):
    traces = []

    @jax.jit
    def run(rate):
        traces.append(rate)
        return drop(KEY, X, rate)

    for rate in (0.0, 0.3, 1.0):
        chex.assert_trees_all_close(run(rate), drop(KEY, X, rate), rtol=1e-6)
    for rate in (1.5, -0.5):
        assert bool(jnp.all(jnp.isnan(run(rate))))
    assert len(traces) == 1
    lanes = jax.vmap(lambda rate: drop(KEY, X, rate))(jnp.array([0.0, 0.3]))
    chex.assert_trees_all_close(lanes[1], drop(KEY, X, 0.3), rtol=1e-6)


@pytest.mark.parametrize("drop", [*INVERTED, dropconnect])
def test_bfloat16_is_kept_and_loses_one_rounding_only(drop):
    x = X.astype(jnp.bfloat16)
    y = drop(KEY, x, jnp.bfloat16(0.5))
    assert y.dtype == jnp.bfloat16
    chex.assert_trees_all_equal(y, drop(KEY, x.astype(jnp.float32), 0.5).astype(jnp.bfloat16))


def test_the_mask_is_a_function_of_the_key_alone_also_in_a_loop():
    keys = jax.random.split(KEY, 3)
    _, ys = jax.lax.scan(lambda c, key: (c, dropout(key, X, 0.5)), None, keys)
    chex.assert_trees_all_equal(ys, jnp.stack([dropout(key, X, 0.5) for key in keys]))


@pytest.mark.usefixtures("x64")
def test_derivatives():
    x = jnp.asarray(X, jnp.float64)
    drops = (*INVERTED, dropconnect)
    assert_derivatives(lambda x, rate: [drop(KEY, x, rate) ** 2 for drop in drops], x, jnp.float64(0.35))


def test_errors_name_what_does_not_fit():
    for drop, where in [(dropout, "dropout"), (drop_path, "drop_path"), (branch_at_zero, "stochastic_depth")]:
        with pytest.raises(ValueError, match=rf"{where}: expected rate within \[0, 1\]; got rate=1.2"):
            drop(KEY, X, 1.2)
    with pytest.raises(ValueError, match=r"dropconnect: expected rate within \[0, 1\]; got rate=-0.1"):
        dropconnect(KEY, X, -0.1)
    with pytest.raises(ValueError, match=r"dropconnect_mean: expected rate within \[0, 1\]; got rate=nan"):
        dropconnect_mean(X, float("nan"))
    with pytest.raises(ValueError, match=r"dropout: expected one rate; got rate=\(6, 1\)"):
        dropout(KEY, X, jnp.full((6, 1), 0.5))
    with pytest.raises(ValueError, match=r"stochastic_depth: expected x and residual of one shape; got x=\(6, 5\), .*"):
        stochastic_depth(KEY, X, X[:1], 0.5)
