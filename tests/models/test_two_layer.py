import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.models.two_layer import two_layer
from jax231.nn.bridge import functionalize


@pytest.mark.parametrize(("activation", "f"), [("relu", lambda x: np.maximum(x, 0)), ("tanh", np.tanh)])
def test_scores_are_two_affine_maps_with_a_kink_or_bend_between(activation, f):
    model = functionalize(two_layer((2, 3, 1), 4, hidden=7, activation=activation))
    params, _ = model.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(5, 2, 3, 1)).astype(np.float32)
    hidden, scores = params["hidden"], params["scores"]
    expected = f(x.reshape(5, 6) @ hidden["kernel"] + hidden["bias"]) @ scores["kernel"] + scores["bias"]
    found, _ = model.apply(params, {}, jnp.asarray(x), train=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("tanh", 1)])
def test_relu_starts_as_he_and_tanh_as_xavier(activation, gain):
    params, _ = functionalize(two_layer((20, 20), 10, hidden=200, activation=activation)).init(jax.random.key(0))
    assert float(params["hidden"]["kernel"].var()) * 400 == pytest.approx(gain, rel=0.05)


def test_other_activations_are_refused():
    with pytest.raises(ValueError, match="two_layer: expected relu or tanh; got activation='softmax'"):
        two_layer((2, 2), 3, activation="softmax")
