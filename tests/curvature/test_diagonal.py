import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.curvature.diagonal import diagonal, ggn_diagonal, hutchinson_diagonal
from tests.curvature.closures import LIKE, as_vector, operator, spectrum

pytestmark = pytest.mark.usefixtures("x64")

MATRIX = spectrum(np.arange(1.0, 13.0))


@pytest.mark.parametrize("block", [1, 5, 100])
def test_the_diagonal_in_blocks(block):
    found = diagonal(operator(MATRIX), LIKE, block=block)
    chex.assert_trees_all_equal_shapes(found, LIKE)
    chex.assert_trees_all_close(as_vector(found), np.diag(MATRIX), rtol=1e-12)


def test_hutchinsons_estimate_and_its_error():
    """Against the variance by the formula: the estimate of every entry, and the standard errors as a whole."""
    estimate = jax.jit(functools.partial(hutchinson_diagonal, operator(MATRIX), LIKE, probes=2000))
    value, error = (as_vector(x) for x in estimate(jax.random.key(0)))
    expected = np.sqrt(((MATRIX**2).sum(1) - np.diag(MATRIX) ** 2) / 2000)
    assert np.all(np.abs(value - np.diag(MATRIX)) <= 4 * expected)
    chex.assert_trees_all_close(error, expected, rtol=0.15)


def test_a_diagonal_matrix_takes_one_probe():
    found = hutchinson_diagonal(operator(np.diag(np.diag(MATRIX))), LIKE, jax.random.key(0), probes=2)
    chex.assert_trees_all_close(as_vector(found.value), np.diag(MATRIX), rtol=1e-12)
    chex.assert_trees_all_close(found.error, LIKE, atol=1e-12)


def test_narrow_parameters_have_wide_diagonals():
    like = {"w": jnp.ones(3, jnp.bfloat16)}
    for found in (
        diagonal(lambda v: v, like),
        hutchinson_diagonal(lambda v: v, like, jax.random.key(0), probes=2).value,
        ggn_diagonal(lambda p: p["w"], lambda z: jnp.sum(z**2) / 2, like),
    ):
        chex.assert_trees_all_equal(found, {"w": jnp.ones(3, jnp.float32)})


def test_bad_numbers_are_named():
    with pytest.raises(ValueError, match=r"hutchinson_diagonal: expected at least one probe; got probes=0"):
        hutchinson_diagonal(operator(MATRIX), LIKE, jax.random.key(0), probes=0)
    with pytest.raises(ValueError, match=r"diagonal: expected a block of at least one column; got block=0"):
        diagonal(operator(MATRIX), LIKE, block=0)
    with pytest.raises(ValueError, match=r"ggn_diagonal: expected a block of at least one output; got block=0"):
        ggn_diagonal(lambda p: p, jnp.sum, jnp.ones(2), block=0)
