import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jax231.optim.root import divide_by_root


def test_it_is_its_definition():
    x, square = np.float32([1.0, -2.0, 3.0]), np.float32([4.0, 9.0, 0.25])
    quotient = divide_by_root(jnp.asarray(x), jnp.asarray(square), 0.1, 0.2)
    chex.assert_trees_all_close(quotient, x / (np.sqrt(square + 0.1) + 0.2), rtol=1e-6)


def test_a_denominator_of_zero_gives_zero():
    chex.assert_trees_all_equal(divide_by_root(jnp.zeros(2), jnp.zeros(2), 0.0, 0.0), jnp.zeros(2))


def test_one_inside_and_a_zero_square_change_nothing():
    x = jnp.array([0.1, 1e30, -3.7])
    chex.assert_trees_all_equal(divide_by_root(x, jnp.zeros(3), 1.0, 0.0), x)


@pytest.mark.parametrize("outside", [0.0, 1e-8])
def test_derivatives_at_zero_are_finite(outside):
    slopes = jax.grad(lambda x, s: divide_by_root(x, s, 0.0, outside).sum(), argnums=(0, 1))(jnp.zeros(2), jnp.zeros(2))
    assert np.isfinite(slopes).all()


def test_gradient(x64):
    x, square = jnp.array([1.0, -2.0]), jnp.array([0.5, 2.0])
    check_grads(jax.jit(lambda x, s: divide_by_root(x, s, 0.1, 0.2)), (x, square), order=2, atol=1e-7, rtol=1e-7)
