from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree

A = {"conv": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.array([1.0, -2.0])}, "scale": jnp.array(3.0)}
B = jax.tree.map(lambda x: 0.5 * x + 1, A)


def flat(a):
    return np.concatenate([np.ravel(np.asarray(x, np.float64)) for x in jax.tree.leaves(a)])


def test_arithmetic_is_that_of_vectors():
    np.testing.assert_allclose(tree.dot(A, B), flat(A) @ flat(B), rtol=1e-6)
    np.testing.assert_allclose(tree.norm(A), np.linalg.norm(flat(A)), rtol=1e-6)
    np.testing.assert_allclose(flat(tree.add(A, B)), flat(A) + flat(B), rtol=1e-6)
    np.testing.assert_allclose(flat(tree.scale(-2.0, A)), -2 * flat(A), rtol=1e-6)
    np.testing.assert_allclose(flat(tree.axpy(0.3, A, B)), 0.3 * flat(A) + flat(B), rtol=1e-6)
    np.testing.assert_array_equal(flat(tree.zeros_like(A)), 0 * flat(A))
    assert tree.size(A) == 9


@pytest.mark.parametrize("condition", [True, False])
def test_where_takes_the_whole_tree(condition):
    chex.assert_trees_all_equal(tree.where(jnp.array(condition), A, B), A if condition else B)


def test_ravel_goes_there_and_back():
    vector, unravel = tree.ravel(A)
    np.testing.assert_array_equal(vector, flat(A))
    chex.assert_trees_all_equal(unravel(vector), A)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_leaves_keep_their_dtype_under_a_wider_factor(dtype):
    low = jax.tree.map(lambda x: x.astype(dtype), A)
    for result in (tree.scale(jnp.float32(0.5), low), tree.axpy(jnp.float32(0.5), A, low), tree.zeros_like(low)):
        assert {x.dtype for x in jax.tree.leaves(result)} == {jnp.dtype(dtype)}


def test_sums_of_half_precision_are_formed_in_float32():
    """In bfloat16 the sum of 10,001 ones is 9,984, and in float16 it is infinite beyond 65,504."""
    for dtype in (jnp.bfloat16, jnp.float16):
        ones = {"a": jnp.ones(10_001, dtype), "b": jnp.full(1, 300, dtype)}
        assert tree.dot(ones, ones) == 10_001 + 90_000
        assert tree.dot(ones, ones).dtype == jnp.float32


@pytest.mark.usefixtures("x64")
def test_float32_stays_float32_where_64_bits_are_on():
    assert tree.dot(A, A).dtype == jnp.float32
    assert tree.norm(A).dtype == jnp.float32
    assert tree.norm(jax.tree.map(lambda x: x.astype(jnp.float64), A)).dtype == jnp.float64


def test_nothing_has_length_zero():
    assert tree.dot({}, {}) == 0
    assert tree.norm(()) == 0
    assert tree.size([]) == 0


def test_the_norm_at_zero_has_gradient_zero():
    zero = tree.zeros_like(A)
    chex.assert_trees_all_equal(jax.grad(tree.norm)(zero), zero)
    _, second = jax.jvp(jax.grad(tree.norm), (zero,), (A,))
    chex.assert_trees_all_equal(second, zero)
    chex.assert_trees_all_close(jax.grad(tree.norm)(A), tree.scale(1 / tree.norm(A), A), rtol=1e-6)


def test_a_broken_vector_has_no_length():
    """A norm of 0 would pass for convergence."""
    assert np.isnan(tree.norm({"a": jnp.ones(2), "b": jnp.array([jnp.nan])}))
    assert np.isinf(tree.norm(jnp.array([jnp.inf, 1.0])))


def test_trees_of_other_structure_do_not_mix():
    with pytest.raises(ValueError, match="key"):
        tree.dot(A, {"conv": A["conv"]})


def test_names():
    class Carry(NamedTuple):
        h: jax.Array
        c: jax.Array

    assert tree.names(A) == ["conv/bias", "conv/kernel", "scale"]
    assert tree.names([{"w": 1}, Carry(2, 3)]) == ["0/w", "1/h", "1/c"]
    assert tree.names(1.0) == [""]
