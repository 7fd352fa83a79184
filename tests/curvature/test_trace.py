import functools

import jax
import numpy as np
import pytest

from jax231.core import tree
from jax231.curvature.trace import hutch_plus_plus, hutchinson_trace
from jax231.curvature.vectors import rademacher
from tests.curvature.closures import LIKE, operator, spectrum

pytestmark = pytest.mark.usefixtures("x64")

FEW_LARGE = spectrum(2.0 ** -np.arange(12.0))


KEYS = jax.random.split(jax.random.key(0), 300)


@functools.cache
def repeated(estimator, probes):
    """The estimates for many keys, and their standard errors."""
    run = functools.partial(estimator, operator(FEW_LARGE), LIKE, probes=probes, block=probes)
    with jax.enable_x64(True):
        return [np.asarray(x) for x in jax.jit(jax.vmap(run))(KEYS)]


def test_hutchinsons_estimate_has_its_mean_and_variance():
    values, errors = repeated(hutchinson_trace, 12)
    variance = 2 * ((FEW_LARGE**2).sum() - (np.diag(FEW_LARGE) ** 2).sum()) / 12
    assert abs(values.mean() - np.trace(FEW_LARGE)) <= 4 * np.sqrt(variance / 300)
    assert values.var() == pytest.approx(variance, rel=0.3)
    assert (errors**2).mean() == pytest.approx(variance, rel=0.15)


def test_hutch_plus_plus_is_unbiased_with_a_third_of_the_error():
    """At the same number of products, on eigenvalues that halve each time."""
    plain, _ = repeated(hutchinson_trace, 12)
    better, errors = repeated(hutch_plus_plus, 4)
    assert better.std() <= plain.std() / 3
    assert abs(better.mean() - np.trace(FEW_LARGE)) <= 4 * better.std() / np.sqrt(300)
    assert (errors**2).mean() == pytest.approx(better.var(), rel=0.5)


def test_hutch_plus_plus_is_exact_where_the_probes_span_the_range():
    """Also for matrices that are neither symmetric nor definite, and with more probes than dimensions."""
    run = jax.jit(lambda matrix: hutch_plus_plus(operator(matrix), LIKE, jax.random.key(1), probes=14, block=7))
    rng = np.random.default_rng(0)
    for rank in (0, 2, 12):
        matrix = rng.normal(size=(12, rank)) @ rng.normal(size=(rank, 12))
        found = run(matrix)
        assert abs(found.value - np.trace(matrix)) <= 1e-12 * max(np.linalg.norm(matrix), 1)
        assert found.error <= 1e-12 * max(np.linalg.norm(matrix), 1)


def test_hutch_plus_plus_is_the_papers_algorithm():
    """Algorithm 1 in NumPy with the same signs."""
    keys = jax.vmap(lambda part: jax.random.split(part, 4))(jax.random.split(KEYS[0]))
    draw = jax.jit(jax.vmap(jax.vmap(lambda key: tree.ravel(rademacher(key, LIKE))[0])))
    span, rest = np.swapaxes(draw(keys), 1, 2)
    basis, _ = np.linalg.qr(FEW_LARGE @ span)
    rest = rest - basis @ (basis.T @ rest)
    expected = np.trace(basis.T @ FEW_LARGE @ basis) + np.trace(rest.T @ FEW_LARGE @ rest) / 4
    assert repeated(hutch_plus_plus, 4)[0][0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("estimator", [hutchinson_trace, hutch_plus_plus])
def test_bad_numbers_are_named(estimator):
    name = estimator.__name__
    with pytest.raises(ValueError, match=rf"{name}: expected at least one probe, .*; got probes=0, block=8"):
        estimator(operator(FEW_LARGE), LIKE, jax.random.key(0), probes=0)
