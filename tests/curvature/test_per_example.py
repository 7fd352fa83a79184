import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.curvature.noise import noise_scale
from jax231.curvature.per_example import per_example_gradients
from jax231.functional import affine, batch_norm_train, conv2d, max_pool, softmax_cross_entropy

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(6, 4, 4, 2)), RNG.integers(0, 3, 6)
PARAMS = {
    "kernel": RNG.normal(size=(3, 3, 2, 2)),
    "scale": RNG.normal(size=2),
    "weight": RNG.normal(size=(8, 3)),
}


def loss(params, batch):
    x, labels = batch
    h = conv2d(x, params["kernel"])
    h, _, _ = batch_norm_train(h, params["scale"], np.zeros(2), np.zeros(2), np.ones(2), relu=True)
    logits = affine(max_pool(h, 2).reshape(len(labels), 8), params["weight"])
    return softmax_cross_entropy(logits, labels).mean()


@pytest.mark.parametrize(("group", "block"), [(1, None), (2, 2)])
def test_one_by_one(group, block):
    """Through convolution, batch normalisation and pooling."""
    found = jax.jit(lambda p, d: per_example_gradients(loss, p, d, group=group, block=block))(PARAMS, DATA)
    one = jax.jit(jax.grad(loss))
    expected = [one(PARAMS, tuple(x[i : i + group] for x in DATA)) for i in range(0, 6, group)]
    chex.assert_trees_all_close(found, jax.tree.map(lambda *x: jnp.stack(x), *expected), rtol=1e-9, atol=1e-13)


def test_their_mean_is_the_gradient_where_examples_do_not_meet():
    def plain(params, batch):
        x, labels = batch
        return softmax_cross_entropy(affine(x.reshape(len(labels), -1), params), labels).mean()

    params = RNG.normal(size=(32, 3))
    gradients = per_example_gradients(plain, params, DATA)
    chex.assert_trees_all_close(gradients.mean(0), jax.grad(plain)(params, DATA), rtol=1e-10)
    pairs = per_example_gradients(plain, params, DATA, group=2)
    variances = noise_scale(gradients).variance, noise_scale(pairs, group=2).variance
    assert 0.2 <= variances[0] / variances[1] <= 5


def test_batch_normalisation_has_no_gradient_of_an_example():
    """Where an example has several positions it is normalised by itself, another function; with one it is refused."""

    def normalised(params, batch):
        h, _, _ = batch_norm_train(jnp.tanh(batch * params), np.ones(2), np.zeros(2), np.zeros(2), np.ones(2))
        return (h**3).mean()

    params, x = np.array([1.0, 0.5]), RNG.normal(size=(4, 3, 2))
    whole = jax.grad(normalised)(params, x)
    chex.assert_trees_all_close(per_example_gradients(normalised, params, x, group=4)[0], whole, rtol=1e-10)
    assert np.abs(per_example_gradients(normalised, params, x).mean(0) - whole).min() > 1e-3
    with pytest.raises(ValueError, match=r"batch_norm_train: expected at least two values of each channel"):
        per_example_gradients(normalised, params, x[:, 0])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"expected a group size that divides the examples; got group=4, examples=6"):
        per_example_gradients(loss, PARAMS, DATA, group=4)
    with pytest.raises(ValueError, match=r"per_example_gradients: expected a block of at least one .*; got block=0"):
        per_example_gradients(loss, PARAMS, DATA, block=0)
