import jax
import numpy as np
import pytest

from jax231.models.linear import linear
from jax231.nn.bridge import functionalize


def test_scores_are_one_template_a_class():
    model = functionalize(linear((2, 3, 1), 4))
    params, state = model.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(5, 2, 3, 1)).astype(np.float32)
    scores, new = model.apply(params, state, jax.numpy.asarray(x), train=True)
    kernel, bias = params["scores"]["kernel"], params["scores"]["bias"]
    expected = [[(x[i].ravel() * kernel[:, k]).sum() + bias[k] for k in range(4)] for i in range(5)]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    assert (new, kernel.shape, bias.shape) == ({}, (6, 4), (4,))


def test_the_deviation_of_the_first_weights():
    params, _ = functionalize(linear((100, 10), 10, std=0.5)).init(jax.random.key(0))
    assert abs(float(params["scores"]["kernel"].std()) - 0.5) < 0.01


def test_images_of_another_size_are_refused():
    model = functionalize(linear((2, 3, 1), 4))
    params, state = model.init(jax.random.key(0))
    with pytest.raises(ValueError, match="affine: expected"):
        model.apply(params, state, jax.numpy.ones((5, 4, 3, 1)), train=False)
