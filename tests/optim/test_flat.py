import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.optim.flat import flatten, ravel

PARAMS = {"a": jnp.arange(4, dtype=jnp.bfloat16).reshape(2, 2), "b": {"c": jnp.array([5.0, 6.0])}}


def test_a_vector_and_back():
    vector, unravel = ravel(PARAMS)
    np.testing.assert_array_equal(vector, [0, 1, 2, 3, 5, 6])
    assert vector.dtype == jnp.float32
    chex.assert_trees_all_equal_shapes_and_dtypes(unravel(vector), PARAMS)
    chex.assert_trees_all_equal(unravel(vector), PARAMS)


def test_arrays_of_numpy_are_parameters_too(x64):
    assert ravel({"w": np.ones(3)})[0].dtype == jnp.float64


def test_the_function_of_a_vector_has_the_same_values_and_gradients():
    def fun(params):
        return jnp.sum(params["a"].astype(jnp.float32) ** 2) + jnp.prod(params["b"]["c"])

    value, grad = jax.value_and_grad(fun)(PARAMS)
    flat = flatten("here", PARAMS, {"value": value, "grad": grad, "value_fn": fun})
    found = jax.value_and_grad(flat.fun)(flat.point)
    chex.assert_trees_all_equal(found, (flat.value, flat.gradient))
    np.testing.assert_array_equal(flat.gradient, [0, 2, 4, 6, 6, 5])


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"here: expected update\(.*\); got missing=\['grad', 'value_fn'\]"):
        flatten("here", PARAMS, {"value": jnp.ones(())})
