import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.curvature.vectors import coefficients, combination, normal, orthonormal, rademacher, unit, widened
from tests.curvature.closures import LIKE, as_vector, rows

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def stack():
    return jax.vmap(lambda key: normal(key, LIKE))(jax.random.split(jax.random.key(0), 4))


def test_stacks_are_matrices(stack):
    vector = normal(jax.random.key(1), LIKE)
    flat, weights = as_vector(vector), jnp.arange(8.0).reshape(2, 4)
    chex.assert_trees_all_close(coefficients(stack, vector), rows(stack) @ flat, rtol=1e-12)
    chex.assert_trees_all_close(as_vector(combination(weights[1], stack)), weights[1] @ rows(stack), rtol=1e-12)
    chex.assert_trees_all_close(rows(combination(weights, stack)), weights @ rows(stack), rtol=1e-12)


def test_an_orthonormal_basis_of_what_a_stack_spans(stack):
    """Also of vectors that are equal, nearly equal, zero, or of very different length."""
    sources = rows(stack)
    given = np.stack([1e8 * sources[0], sources[0], sources[1], sources[1] + 1e-9 * sources[2], 0 * sources[0]])
    unravel = tree.ravel(LIKE)[1]
    basis = rows(jax.jit(orthonormal)(jax.vmap(unravel)(jnp.asarray(given))))
    present = np.array([1, 0, 1, 1, 0])
    chex.assert_trees_all_close(basis @ basis.T, np.diag(present), atol=1e-14)
    chex.assert_trees_all_close(given @ basis.T @ basis, given, rtol=1e-12, atol=1e-14)


def test_random_vectors_have_their_moments():
    keys = jax.random.split(jax.random.key(3), 500)
    for draw in (normal, rademacher):
        drawn = rows(jax.jit(jax.vmap(lambda key, draw=draw: draw(key, LIKE)))(keys))
        covariance = drawn.T @ drawn / 500
        assert np.abs(covariance - np.eye(12)).max() <= 0.25
    assert set(np.unique(drawn)) == {-1.0, 1.0}


def test_a_unit_vector_of_nothing_is_nothing():
    assert tree.norm(unit(jax.tree.map(jnp.asarray, LIKE))) == 0
    chex.assert_trees_all_close(tree.norm(unit({"x": jnp.array([3e-30, 4e-30])})), 1.0)


def test_products_see_narrow_types_and_give_wide_ones():
    seen = []

    def product(vector):
        seen.append(vector["w"].dtype)
        return vector

    like = {"w": jnp.ones(3, jnp.bfloat16)}
    result = widened(product, like)(rademacher(jax.random.key(0), like))
    assert (seen, result["w"].dtype) == ([jnp.bfloat16], jnp.float32)
