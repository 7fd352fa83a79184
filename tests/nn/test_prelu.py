import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional.activations import prelu
from jax231.nn.bridge import arrays
from jax231.nn.prelu import PReLU

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 3)), jnp.float32)


def test_prelu_is_the_function_with_a_slope_for_each_channel():
    layer = PReLU(3)
    assert jax.tree.map(np.ndarray.tolist, jax.tree.map(np.asarray, arrays(layer))) == ({"slope": [0.25] * 3}, {})
    layer.slope[...] = jnp.array([0.0, 0.1, 2.0])
    np.testing.assert_array_equal(layer(X), prelu(X, layer.slope[...]))


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"prelu: expected .*; got x=\(2, 4, 3\), slope=\(2,\)"):
        PReLU(2)(X)
