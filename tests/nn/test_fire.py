import jax
import jax.numpy as jnp
import numpy as np

from jax231.nn.bridge import functionalize
from jax231.nn.fire import Fire
from tests import references
from tests.derivatives import relative_error


def test_a_fire_module_is_three_convolutions_the_1x1_filters_first():
    model = functionalize(lambda rngs: Fire(3, 2, 4, rngs=rngs))
    params, state = model.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)

    def activations(x, layer, padding):
        ends = ((padding, padding), (padding, padding))
        return np.maximum(references.conv2d(x, layer["kernel"], padding=ends) + layer["bias"], 0)

    squeezed = activations(x, params["squeeze"], 0)
    expected = [activations(squeezed, params["expand1x1"], 0), activations(squeezed, params["expand3x3"], 1)]
    y, _ = model.apply(params, state, jnp.asarray(x))
    assert relative_error(y, np.concatenate(expected, -1)) <= 1e-6
