import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.curvature.noise import noise_scale, noise_scale_from_squares

pytestmark = pytest.mark.usefixtures("x64")


def test_the_definition():
    """The trace of the sample covariance over the squared mean less its share of noise."""
    rng = np.random.default_rng(0)
    gradients = {"w": 1 + rng.normal(size=(7, 2, 3)), "b": rng.normal(size=7)}
    flat = np.concatenate([gradients["w"].reshape(7, -1), gradients["b"][:, None]], 1)
    variance = np.trace(np.cov(flat.T))
    square = np.sum(flat.mean(0) ** 2) - variance / 7
    found = jax.jit(noise_scale)(gradients)
    chex.assert_trees_all_close(tuple(found), (variance / square, variance, square), rtol=1e-12)


def test_two_batch_sizes_by_the_papers_equations():
    found = noise_scale_from_squares(jnp.asarray(5.0), jnp.asarray(2.0), 8, 64)
    chex.assert_trees_all_close(found.square, (64 * 2.0 - 8 * 5.0) / (64 - 8))  # A.2
    chex.assert_trees_all_close(found.variance, (5.0 - 2.0) / (1 / 8 - 1 / 64))  # A.3


def test_estimates_are_unbiased_for_any_group():
    """Variance 12 and squared gradient 3, from 24 examples one by one and by threes, averaged over many draws."""
    examples = 0.5 + np.random.default_rng(1).normal(size=(2000, 24, 12))

    @functools.partial(jax.jit, static_argnames="group")
    def averages(gradients, group):
        found = jax.vmap(lambda g: noise_scale(g, group=group))(gradients)
        return found.variance.mean(), found.square.mean()

    threes = examples.reshape(2000, 8, 3, 12).mean(2)
    for gradients, group in ((examples, 1), (threes, 3)):
        chex.assert_trees_all_close(averages(gradients, group), (12.0, 3.0), rtol=0.02)


def test_a_gradient_that_is_all_noise_has_no_scale():
    found = noise_scale(jnp.array([[1.0], [-1.0]]))
    assert found.scale == np.inf
    assert found.square < 0
    assert noise_scale(jnp.ones((3, 2))).scale == 0


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match=r"noise_scale: expected at least two gradients; got gradients=1"):
        noise_scale(jnp.ones((1, 3)))
    with pytest.raises(ValueError, match=r"noise_scale_from_squares: expected 0 < small < large; got small=8, large=8"):
        noise_scale_from_squares(jnp.ones(()), jnp.ones(()), 8, 8)
