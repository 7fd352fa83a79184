import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg

from jax231.core import tree
from jax231.curvature.lanczos import condition_number, eigenpairs, lanczos
from jax231.curvature.vectors import normal
from tests.curvature.closures import LIKE, as_vector, operator, rows, spectrum

KEY = jax.random.key(0)

SPECTRA = {
    "spread": np.linspace(-1, 3, 12),
    "wide": 10.0 ** -np.arange(12),
    "low rank": np.array([3.0, 2.0, -1.0] + [0.0] * 9),
    "multiple": np.array([2.0] * 5 + [1.0] * 7),
    "identity": np.ones(12),
    "zero": np.zeros(12),
}


@functools.partial(jax.jit, static_argnames="steps")
def run(matrix, start, steps):
    return lanczos(operator(matrix), start, KEY, steps=steps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=str)
@pytest.mark.parametrize("name", SPECTRA)
def test_the_decomposition(name, dtype):
    """Q is orthonormal and ``A Q = Q T`` but for the last column, whatever the eigenvalues."""
    with jax.enable_x64(dtype == np.float64):
        matrix, start = (
            spectrum(SPECTRA[name]).astype(dtype),
            jax.tree.map(lambda x: jnp.asarray(x, dtype), normal(jax.random.key(1), LIKE)),
        )
        rounding = 200 * np.finfo(dtype).eps
        for steps in (5, 100) if dtype == np.float64 else (12,):
            found = run(matrix, start, steps)
            q, t = rows(found.basis).astype(float), np.asarray(found.matrix, float)
            assert np.abs(q @ q.T - np.eye(len(q))).max() <= rounding
            outside = matrix @ q.T - q.T @ t
            assert np.abs(outside[:, :-1]).max() <= rounding
            assert abs(np.linalg.norm(outside[:, -1]) - found.beside[-1]) <= rounding
            assert abs(q[0] @ as_vector(start) - tree.norm(start)) <= rounding * tree.norm(start)


@pytest.mark.parametrize("name", SPECTRA)
def test_all_eigenvalues_with_as_many_steps_as_parameters(name):
    with jax.enable_x64(True):
        found = run(spectrum(SPECTRA[name]), normal(jax.random.key(1), LIKE), 100)
        assert found.diagonal.shape == (12,)
        chex.assert_trees_all_close(np.linalg.eigvalsh(found.matrix), np.sort(SPECTRA[name]), atol=1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("end", ["smallest", "magnitude"])
def test_eigenpairs_of_a_large_operator(end):
    """Against SciPy's ARPACK: values to rounding where the residual says so, and every error within its residual."""
    values = np.concatenate([np.linspace(-1, 1, 194), [5.0, 4.0, 3.0, -2.5, -3.5, -4.5]])
    like = {"a": np.zeros((10, 10)), "b": np.zeros(100)}

    def product(vector):
        return {"a": vector["a"] * values[:100].reshape(10, 10), "b": vector["b"] * values[100:]}

    found = jax.jit(functools.partial(eigenpairs, product, like, count=3, steps=40, end=end))(KEY)
    name = {"smallest": "SA", "magnitude": "LM"}[end]
    reference = scipy.sparse.linalg.eigsh(scipy.sparse.diags(values), 3, which=name, return_eigenvectors=False)
    expected = np.sort(reference) if end == "smallest" else reference[np.argsort(-np.abs(reference))]
    chex.assert_trees_all_close(found.values, expected, rtol=1e-9)
    assert found.residuals.max() <= 1e-4
    vectors = rows(found.vectors)
    chex.assert_trees_all_close(vectors @ vectors.T, np.eye(3), atol=1e-12)
    residuals = np.linalg.norm(vectors * values - np.asarray(found.values)[:, None] * vectors, axis=1)
    chex.assert_trees_all_close(found.residuals, residuals, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_residuals_bound_the_errors_of_few_steps():
    matrices = np.stack([spectrum(np.random.default_rng(i).normal(size=12), i) for i in range(20)])

    def pairs(matrix):
        return eigenpairs(operator(matrix), LIKE, KEY, count=2, steps=5)

    found = jax.jit(jax.vmap(pairs))(matrices)
    distance = np.abs(found.values[:, :, None] - np.linalg.eigvalsh(matrices)[:, None]).min(-1)
    assert np.all(distance <= found.residuals)
    assert np.median(distance / found.residuals) >= 0.01


def test_eigenpairs_of_narrow_parameters():
    like = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), LIKE)
    found = jax.jit(lambda matrix: eigenpairs(operator(matrix), like, KEY, steps=12))(spectrum(np.arange(12.0)))
    assert found.values.dtype == found.vectors["rest"][1].dtype == jnp.float32
    assert abs(found.values[0] - 11) <= 0.5
    assert found.residuals[0] <= 0.5


@pytest.mark.usefixtures("x64")
def test_condition_numbers():
    @jax.jit
    def condition(matrix, damping):
        return condition_number(operator(matrix), LIKE, KEY, steps=12, damping=damping)

    found = condition(spectrum(np.geomspace(1, 1000, 12)), 0.0)
    assert found.number == pytest.approx(1000, rel=1e-10)
    chex.assert_trees_all_close(found.eigenvalues, np.array([1000.0, 1.0]), rtol=1e-10)
    assert condition(spectrum(np.arange(12.0)), 1.0).number == pytest.approx(12, rel=1e-10)
    assert condition(spectrum(np.arange(12.0) - 1), 0.0).number == np.inf


def test_bad_input_is_named():
    product = operator(np.eye(12))
    with pytest.raises(ValueError, match=r"lanczos: expected at least one step; got steps=0"):
        lanczos(product, LIKE, KEY, steps=0)
    with pytest.raises(
        ValueError, match=r"eigenpairs: expected an end among largest, smallest, magnitude; got end='top'"
    ):
        eigenpairs(product, LIKE, KEY, end="top")
    with pytest.raises(
        ValueError, match=r"eigenpairs: expected from one pair .*; got count=13, steps=32, parameters=12"
    ):
        eigenpairs(product, LIKE, KEY, count=13)
    with pytest.raises(ValueError, match=r"condition_number: expected at least two steps; got steps=1"):
        condition_number(product, LIKE, KEY, steps=1)
