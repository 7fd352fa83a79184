import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.models.convnet import convnet
from jax231.nn.bridge import functionalize
from tests import references


def test_it_is_convolution_relu_and_pooling_twice():
    model = functionalize(convnet((5, 8, 2), 3, channels=(2, 3)))
    params, _ = model.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(2, 5, 8, 2)).astype(np.float32)
    found, _ = jax.jit(lambda p, x: model.apply(p, {}, x, train=True))(params, jnp.asarray(x))
    for name in ("conv1", "conv2"):
        kernel = params[name]["kernel"]
        x = np.maximum(references.conv2d(x, kernel, padding=((1, 1), (1, 1))) + params[name]["bias"], 0)
        n, h, w, c = x.shape
        x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    expected = x.reshape(2, -1) @ params["scores"]["kernel"] + params["scores"]["bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_layer_for_each_number_of_channels():
    params = jax.eval_shape(functionalize(convnet((32, 32, 3), 10, channels=(4, 8, 16))).init, jax.random.key(0))[0]
    shapes = {name: layer["kernel"].shape for name, layer in params.items()}
    assert shapes == {"conv1": (3, 3, 3, 4), "conv2": (3, 3, 4, 8), "conv3": (3, 3, 8, 16), "scores": (256, 10)}


@pytest.mark.parametrize("shape", [(3, 8, 1), (8, 3, 1)])
def test_an_image_too_small_for_the_pooling_is_refused(shape):
    with pytest.raises(ValueError, match=r"convnet: expected images of at least 4x4; got shape=\([38], [38], 1\)"):
        convnet(shape, 10)


def test_flat_inputs_and_no_layers_are_refused():
    with pytest.raises(ValueError, match=r"convnet: expected images \(h, w, c\); got shape=\(64,\)"):
        convnet((64,), 10)
    with pytest.raises(ValueError, match=r"convnet: expected at least one convolution; got channels=\(\)"):
        convnet((8, 8, 1), 10, channels=())
