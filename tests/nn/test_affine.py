import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.functional.dropout import dropconnect, dropconnect_mean
from jax231.functional.initializers import gaussian
from jax231.functional.linear import affine
from jax231.nn.affine import Affine, DropConnect
from jax231.nn.bridge import arrays

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)), jnp.float32)


@pytest.mark.parametrize("x", [X, X[0], X[0, 0]])
def test_affine_is_the_function(x):
    layer = Affine(3, 4, bias_init=gaussian(1.0), rngs=nnx.Rngs(0))
    assert jax.tree.map(jnp.shape, arrays(layer)) == ({"kernel": (3, 4), "bias": (4,)}, {})
    np.testing.assert_array_equal(layer(x), affine(x, layer.kernel[...], layer.bias[...]))


def test_a_bias_may_be_left_out_and_starts_at_zero():
    bare, layer = Affine(3, 4, bias=False, rngs=nnx.Rngs(0)), Affine(3, 4, rngs=nnx.Rngs(0))
    assert set(arrays(bare)[0]) == {"kernel"}
    np.testing.assert_array_equal(bare(X), layer(X))
    assert not layer.bias[...].any()


def test_dropped_weights_and_their_mean():
    layer = DropConnect(3, 4, 0.3, rngs=nnx.Rngs(0))
    assert jax.tree.map(jnp.shape, arrays(layer)[0]) == {"kernel": (3, 4), "bias": (4,)}
    layer.bias[...] = jnp.arange(4.0)
    kernel, bias = layer.kernel[...], layer.bias[...]
    key = nnx.clone(layer).key()
    np.testing.assert_array_equal(layer(X), affine(X, dropconnect(key, kernel, 0.3), bias))
    assert (layer(X) != layer(X)).any(), "a mask for each call"
    layer.eval()
    np.testing.assert_array_equal(layer(X), affine(X, dropconnect_mean(kernel, 0.3), bias))


@pytest.mark.parametrize("layer", [Affine, DropConnect])
def test_multiplications(layer):
    layer = layer(3, 4, rngs=nnx.Rngs(0))
    assert layer.macs((X,), layer(X)) == 2 * 5 * 3 * 4


@pytest.mark.parametrize("layer", [Affine, DropConnect])
def test_inputs_of_another_width_are_refused(layer):
    with pytest.raises(ValueError, match=r"affine: expected the last axis .*; got x=\(2, 5, 3\), weight=\(6, 4\)"):
        layer(6, 4, rngs=nnx.Rngs(0))(X)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"he: expected .*; got shape=\(0, 4\)"):
        Affine(0, 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"DropConnect: expected rate within \[0, 1\]; got rate=1.5"):
        DropConnect(3, 4, 1.5, rngs=nnx.Rngs(0))
