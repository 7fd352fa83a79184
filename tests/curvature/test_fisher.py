import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.curvature.fisher import (
    empirical_fisher_vp,
    fisher_vp,
    linearized_empirical_fisher_vp,
    linearized_fisher_vp,
)
from jax231.curvature.products import dense, ggn
from tests.curvature.closures import as_vector
from tests.derivatives import relative_error

pytestmark = pytest.mark.usefixtures("x64")

N, K = 5, 3
LABELS = np.array([0, 2, 1, 1, 0])
X = np.random.default_rng(0).normal(size=(N, 2))
PARAMS = {
    "hidden": np.random.default_rng(1).normal(size=(2, 2)),
    "output": np.random.default_rng(2).normal(size=(2, K)),
}


def logits_fn(params, x=X):
    return jnp.tanh(x @ params["hidden"]) @ params["output"]


def losses_fn(params):
    return -jax.nn.log_softmax(logits_fn(params))[np.arange(N), LABELS]


@functools.cache
def gradients():
    """Of the negative log-probability of each class for each example, one after the other: (N, K, parameters)."""
    flat, unravel = tree.ravel(PARAMS)
    one = jax.jit(jax.grad(lambda p, x, k: -jax.nn.log_softmax(logits_fn(unravel(p), x))[k]))
    return np.array([[one(flat, x, np.int32(k)) for k in range(K)] for x in X])


def test_the_empirical_fisher_is_its_definition():
    expected = sum(np.outer(g[y], g[y]) for g, y in zip(gradients(), LABELS, strict=True)) / N
    matrix, found = jax.jit(
        lambda p: (dense(linearized_empirical_fisher_vp(losses_fn, p), p), empirical_fisher_vp(losses_fn, p, p))
    )(PARAMS)
    assert relative_error(matrix, expected) <= 1e-12
    chex.assert_trees_all_equal_shapes_and_dtypes(found, jax.tree.map(jnp.asarray, PARAMS))
    assert relative_error(as_vector(found), expected @ as_vector(PARAMS)) <= 1e-12


def test_the_expected_fisher_is_the_gauss_newton_matrix():
    probabilities = jax.nn.softmax(logits_fn(PARAMS))
    expected = np.einsum("nk,nki,nkj->ij", probabilities, gradients(), gradients()) / N
    exact = jax.jit(lambda p: ggn(logits_fn, lambda z: -jnp.mean(jax.nn.log_softmax(z)[np.arange(N), LABELS]), p))
    matrix = exact(PARAMS)
    assert relative_error(matrix, expected) <= 1e-12


def test_a_sampled_fisher_is_of_labels_of_the_models_own():
    """With one example there are only K matrices that a single sample can give, as often as the softmax says."""
    one = X[:1]
    possible = np.array([np.outer(g, g) for g in gradients()[0]])
    draw = jax.jit(jax.vmap(lambda key: dense(linearized_fisher_vp(lambda p: logits_fn(p, one), PARAMS, key), PARAMS)))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 300)))
    distance = np.abs(drawn[:, None] - possible).max((2, 3))
    assert distance.min(1).max() <= 1e-14
    shares = np.bincount(distance.argmin(1), minlength=K) / 300
    expected = np.asarray(jax.nn.softmax(logits_fn(PARAMS, one[0])))
    assert np.all(np.abs(shares - expected) <= 4 * np.sqrt(expected * (1 - expected) / 300))


def test_many_samples_give_the_expected_fisher():
    g, samples = gradients(), 20_000
    probabilities = np.asarray(jax.nn.softmax(logits_fn(PARAMS)))
    outer = np.einsum("nki,nkj->nkij", g, g)
    means = np.einsum("nk,nkij->nij", probabilities, outer)
    variance = (np.einsum("nk,nkij->nij", probabilities, outer**2) - means**2).sum(0) / N**2 / samples
    product = jax.jit(lambda p, key: dense(linearized_fisher_vp(logits_fn, p, key, samples=samples), p))
    found = product(PARAMS, jax.random.key(1))
    assert np.all(np.abs(found - means.mean(0)) <= 5 * np.sqrt(variance) + 1e-14)


def test_one_product_is_that_of_the_same_labels_and_positions_are_predictions():
    """Whether the predictions stand in one axis or in two."""

    def deep(params):
        return logits_fn(params)[:4].reshape(2, 2, K)

    @jax.jit
    def products(params, key):
        return (
            fisher_vp(lambda p: logits_fn(p)[:4], params, params, key, samples=2),
            linearized_fisher_vp(deep, params, key, samples=2)(params),
        )

    chex.assert_trees_all_close(*products(PARAMS, jax.random.key(2)), rtol=1e-12)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"linearized_fisher_vp: expected at least one sample; got samples=0"):
        linearized_fisher_vp(logits_fn, PARAMS, jax.random.key(0), samples=0)
    with pytest.raises(ValueError, match=r"linearized_fisher_vp: expected logits with an axis of classes"):
        linearized_fisher_vp(lambda p: p["hidden"].sum(), PARAMS, jax.random.key(0))
