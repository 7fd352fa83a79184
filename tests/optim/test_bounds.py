import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.optim.bounds import bounds_like, clip, land, projected_gradient

X = {"a": jnp.array([0.0, 0.5, 1.0]), "b": jnp.full((2, 2), 2.0)}


def test_numbers_and_leaves_become_trees_in_the_parameters_types():
    wide = bounds_like("here", (-np.inf, 1), X)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), wide.lower) == dict.fromkeys("ab", ((), jnp.float32))
    rows = bounds_like("here", ({"a": 0, "b": np.array([0.0, 3.0])}, np.inf), X)
    np.testing.assert_array_equal(clip(X, rows)["b"], [[2, 3], [2, 3]])
    assert bounds_like("here", (np.zeros(3), np.ones(3)), X["a"]).upper.shape == (3,)
    jax.jit(lambda low: bounds_like("here", (low, 0.0), X))(1.0)  # what cannot be seen is not looked at


def test_the_projected_gradient_is_zero_where_only_a_bound_stops_the_descent():
    x, grad, bounds = X["a"], jnp.array([5.0, 0.2, -5.0]), bounds_like("here", (0, 1), X["a"])
    np.testing.assert_allclose(projected_gradient(x, grad, bounds), [0, 0.2, 0], atol=1e-7)
    np.testing.assert_allclose(projected_gradient(x, -grad, bounds), [-1, -0.2, 1], atol=1e-7)
    assert np.isnan(projected_gradient(x, jnp.array([jnp.nan, 0.0, 0.0]), bounds)).any()
    assert np.isinf(projected_gradient(x, jnp.array([jnp.inf, 0.0, 0.0]), bounds)).any()


def test_an_update_to_a_bound_ends_on_it_in_spite_of_rounding():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(0, 1e4, 200), jnp.float32)
    lower = jnp.asarray(rng.uniform(0.1, 1, 200), jnp.float32)
    bounds = bounds_like("here", (lower, np.inf), x)
    assert (x + (lower - x) != lower).any()
    np.testing.assert_array_equal(land(x, lower - x, bounds), lower)
    inside = x - (x - lower) / 2
    np.testing.assert_array_equal(land(x, inside - x, bounds), x + (inside - x))


def test_errors():
    with pytest.raises(ValueError, match=r"here: expected bounds as a pair \(lower, upper\)"):
        bounds_like("here", 0.0, X)
    with pytest.raises(ValueError, match=r"here: expected bounds that are numbers, or trees .*upper=\{'a'\}"):
        bounds_like("here", (0.0, {"a": 1.0}), X)
    with pytest.raises(ValueError, match=r"here: expected bounds that broadcast .*lower=\(2,\), parameters=\(3,\)"):
        bounds_like("here", ({"a": np.zeros(2), "b": 0.0}, 1.0), X)
    with pytest.raises(ValueError, match=r"here: expected lower bounds of at most .*lower=1.0, upper=0.0"):
        bounds_like("here", (1.0, 0.0), X)
    with pytest.raises(ValueError, match="here: expected lower bounds"):
        bounds_like("here", (jnp.nan, 0.0), X)
