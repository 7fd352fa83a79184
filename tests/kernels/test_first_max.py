import chex
import jax
import jax.numpy as jnp

from jax231.kernels.first_max import first_max, first_max_with_places


def test_the_first_of_equals_takes_the_whole_gradient_in_both_modes():
    values = [jnp.array([1.0, 5.0]), jnp.array([3.0, 5.0]), jnp.array([3.0, 4.0])]
    chex.assert_trees_all_equal(first_max(values), jnp.array([3.0, 5.0]))
    gradient = jax.grad(lambda values: first_max(values).sum())(values)
    chex.assert_trees_all_equal(jnp.stack(gradient), jnp.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]))
    tangents = [jnp.full(2, float(i)) for i in range(3)]
    chex.assert_trees_all_equal(jax.jvp(first_max, (values,), (tangents,))[1], jnp.array([1.0, 0.0]))


def test_nan_stays_and_minus_infinity_can_win():
    nan, low = jnp.nan, -jnp.inf
    columns = jnp.array([[nan, 1.0, 2.0], [1.0, nan, 2.0], [1.0, nan, nan], [low, low, low]])
    value, place = first_max_with_places(list(columns.T), list(jnp.arange(3)))
    chex.assert_trees_all_equal(value, jnp.array([nan, nan, nan, low]))
    chex.assert_trees_all_equal(place, jnp.array([0, 1, 1, 0]))
