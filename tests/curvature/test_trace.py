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


def repeated(estimator, matrix, count=300, **options):
    """The estimates for many keys, and their standard errors."""
    run = functools.partial(estimator, operator(matrix), LIKE, **options)
    return map(np.asarray, jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), count)))


def test_hutchinsons_estimate_has_its_mean_and_variance():
    matrix = FEW_LARGE
    values, errors = repeated(hutchinson_trace, matrix, probes=6, block=3)
    variance = 2 * ((matrix**2).sum() - (np.diag(matrix) ** 2).sum()) / 6
    assert abs(values.mean() - np.trace(matrix)) <= 4 * np.sqrt(variance / 300)
    assert values.var() == pytest.approx(variance, rel=0.3)
    assert (errors**2).mean() == pytest.approx(variance, rel=0.15)


def test_hutch_plus_plus_is_unbiased_with_a_third_of_the_error():
    """At the same number of products, on eigenvalues that halve each time."""
    plain, _ = repeated(hutchinson_trace, FEW_LARGE, probes=12, block=12)
    better, errors = repeated(hutch_plus_plus, FEW_LARGE, probes=4, block=4)
    trace = np.trace(FEW_LARGE)
    assert better.std() <= plain.std() / 3
    assert abs(better.mean() - trace) <= 4 * better.std() / np.sqrt(300)
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
    key = jax.random.key(7)
    keys = jax.vmap(lambda part: jax.random.split(part, 3))(jax.random.split(key))
    draw = jax.jit(jax.vmap(jax.vmap(lambda key: tree.ravel(rademacher(key, LIKE))[0])))
    span, rest = np.swapaxes(draw(keys), 1, 2)
    basis, _ = np.linalg.qr(FEW_LARGE @ span)
    rest = rest - basis @ (basis.T @ rest)
    expected = np.trace(basis.T @ FEW_LARGE @ basis) + np.trace(rest.T @ FEW_LARGE @ rest) / 3
    found = jax.jit(lambda key: hutch_plus_plus(operator(FEW_LARGE), LIKE, key, probes=3, block=3))(key)
    assert found.value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("estimator", [hutchinson_trace, hutch_plus_plus])
def test_bad_numbers_are_named(estimator):
    name = estimator.__name__
    with pytest.raises(ValueError, match=rf"{name}: expected at least one probe, .*; got probes=0, block=8"):
        estimator(operator(FEW_LARGE), LIKE, jax.random.key(0), probes=0)
