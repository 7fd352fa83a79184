import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.curvature.estimate import mean, running_mean

pytestmark = pytest.mark.usefixtures("x64")


def test_means_and_standard_errors_are_numpys():
    values = 1e6 + np.random.default_rng(0).normal(size=(7, 2, 3))
    expected = values.mean(0), values.std(0, ddof=1) / np.sqrt(7)
    chex.assert_trees_all_close(tuple(mean(jnp.asarray(values))), expected, rtol=1e-9)


def test_one_by_one_is_all_at_once():
    def sample(key):
        return {"large": 1e6 + jax.random.normal(key, (3,)), "small": jax.random.uniform(key)}

    keys = jax.random.split(jax.random.key(0), 9)
    found = jax.jit(lambda keys: running_mean(sample, keys))(keys)
    chex.assert_trees_all_close(found, mean(jax.vmap(sample)(keys)), rtol=1e-9)


def test_a_single_probe_has_no_error():
    value, error = mean(jnp.array([3.0]))
    assert value == 3
    assert np.isnan(error)
