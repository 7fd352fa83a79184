import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jax231.curvature.density import density, lanczos_quadrature, spectral_mean
from tests.curvature.closures import LIKE, operator, spectrum

pytestmark = pytest.mark.usefixtures("x64")

VALUES = np.array([-1.0, -0.5, 0.1, 0.2, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0])
MATRIX = spectrum(VALUES)


@functools.partial(jax.jit, static_argnames="steps")
def rules(key, steps=6, matrix=MATRIX):
    return lanczos_quadrature(operator(matrix), LIKE, key, probes=300, steps=steps)


def test_each_rule_is_exact_for_polynomials():
    """Degree below 2 * steps, for the very signs that the key gives: moments ``v' A^p v / v'v`` up to p = 11."""
    quadrature, full = rules(jax.random.key(0)), rules(jax.random.key(0), steps=12)
    chex.assert_trees_all_close(quadrature.weights.sum(1), np.ones(300), rtol=1e-12)
    chex.assert_trees_all_close(full.nodes, np.broadcast_to(VALUES, (300, 12)), atol=1e-9)
    for power in range(1, 12):
        found, exact = (np.einsum("pm,pm->p", q.weights, q.nodes**power) for q in (quadrature, full))
        chex.assert_trees_all_close(found, exact, rtol=1e-9)


def test_means_over_the_spectrum_lie_within_their_errors():
    quadrature = rules(jax.random.key(1))
    for fun in (lambda x: x, lambda x: x**2, lambda x: jnp.exp(-x)):
        value, error = spectral_mean(quadrature, fun)
        assert abs(value - fun(VALUES).mean()) <= 4 * error
        assert error <= 0.1 * abs(value)
    variance = 2 * ((MATRIX**2).sum() - (np.diag(MATRIX) ** 2).sum()) / 300
    assert 12 * spectral_mean(quadrature, lambda x: x).error == pytest.approx(np.sqrt(variance), rel=0.15)


def test_the_density_is_that_of_the_eigenvalues():
    """Smoothed with the same width, within five standard errors; broad enough for rules of six nodes."""
    found = jax.jit(lambda q: density(q, points=200, width=0.2))(rules(jax.random.key(2)))
    width = 0.2 * np.ptp(rules(jax.random.key(2)).nodes)
    exact = scipy.stats.norm.pdf(found.grid[:, None], VALUES, width).mean(1)
    assert np.all(np.abs(found.values - exact) <= 5 * found.errors + 1e-3 * exact.max())
    assert np.trapezoid(found.values, found.grid) == pytest.approx(1, abs=1e-5)
    assert found.errors.max() <= 0.1 * exact.max()


def test_an_error_is_that_of_repeating_the_whole():
    groups = jax.tree.map(lambda x: x.reshape(60, 5, 6), rules(jax.random.key(3)))
    values, errors = jax.vmap(lambda group: spectral_mean(group, jnp.exp))(groups)
    assert np.sqrt((errors**2).mean()) == pytest.approx(np.asarray(values).std(), rel=0.4)


def test_the_share_of_negative_eigenvalues():
    value, error = spectral_mean(rules(jax.random.key(6), steps=12), lambda x: x < 0)
    assert abs(value - 2 / 12) <= 4 * error


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_one_eigenvalue_alone_is_one_peak(value):
    found = jax.jit(density)(rules(jax.random.key(0), matrix=value * np.eye(12)))
    assert found.grid[found.values.argmax()] == pytest.approx(value, abs=1e-3)
    assert np.trapezoid(found.values, found.grid) == pytest.approx(1, abs=1e-4)


def test_bad_numbers_are_named():
    with pytest.raises(ValueError, match=r"lanczos_quadrature: expected at least one probe and step; got probes=0"):
        lanczos_quadrature(operator(MATRIX), LIKE, jax.random.key(0), probes=0)
    quadrature = rules(jax.random.key(0))
    with pytest.raises(ValueError, match=r"density: expected at least two points; got points=1"):
        density(quadrature, points=1)
    with pytest.raises(ValueError, match=r"density: expected a positive width; got width=0"):
        density(quadrature, width=0.0)
