import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.functional import norm
from jax231.functional.activations import relu
from jax231.nn.bridge import arrays
from jax231.nn.norm import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(1.0, 2.0, (3, 4, 5, 6)), jnp.float32)
SCALE, BIAS, MEAN, VAR = (jnp.asarray(RNG.uniform(0.5, 2.0, 6), jnp.float32) for _ in range(4))


def test_first_values():
    params, state = arrays(BatchNorm(6))
    np.testing.assert_array_equal([*params.values()], [np.zeros(6), np.ones(6)])
    assert list(params) == ["bias", "scale"]
    assert list(state) == ["mean", "var"]
    np.testing.assert_array_equal([*state.values()], [np.zeros(6), np.ones(6)])
    assert not BatchNorm(6, scale=0.0).scale[...].any()
    for layer in (LayerNorm(6), GroupNorm(6, 2)):
        assert {name: leaf.tolist() for name, leaf in arrays(layer)[0].items()} == {"bias": [0] * 6, "scale": [1] * 6}
    assert arrays(LocalResponseNorm()) == ({}, {})


@pytest.mark.parametrize("positive", [False, True])
def test_batch_norm_in_training_and_evaluation(positive):
    layer = BatchNorm(6, momentum=0.8, eps=1e-3, relu=positive)
    layer.scale[...], layer.bias[...], layer.mean[...], layer.var[...] = SCALE, BIAS, MEAN, VAR
    given = X, SCALE, BIAS, MEAN, VAR
    y, mean, var = norm.batch_norm_train(*given, momentum=0.8, eps=1e-3, relu=positive)
    np.testing.assert_array_equal(layer(X), y)
    np.testing.assert_array_equal(layer.mean[...], mean)
    np.testing.assert_array_equal(layer.var[...], var)

    layer.eval()
    layer.mean[...], layer.var[...] = MEAN, VAR
    expected = norm.batch_norm_eval(*given, eps=1e-3)
    np.testing.assert_array_equal(layer(X), relu(expected) if positive else expected)
    np.testing.assert_array_equal(layer.mean[...], MEAN)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (LayerNorm(6, eps=1e-2), lambda x: norm.layer_norm(x, SCALE, BIAS, eps=1e-2)),
        (GroupNorm(6, 3, eps=1e-2), lambda x: norm.group_norm(x, SCALE, BIAS, 3, eps=1e-2)),
    ],
)
def test_other_normalisations_are_their_functions(layer, function):
    layer.scale[...], layer.bias[...] = SCALE, BIAS
    np.testing.assert_array_equal(layer(X), function(X))


def test_response_norm_is_its_function():
    options = {"size": 3, "k": 1.0, "alpha": 0.1, "beta": 0.5}
    np.testing.assert_array_equal(LocalResponseNorm(**options)(X), norm.local_response_norm(X, **options))


@pytest.mark.parametrize(
    ("layer", "where"), [(BatchNorm(5), "batch_norm_train"), (LayerNorm(5), "layer_norm"), (GroupNorm(5, 1), "group")]
)
def test_other_channels_are_refused(layer, where):
    with pytest.raises(ValueError, match=rf"{where}.*: expected scale with .*; got x=\(3, 4, 5, 6\), scale=\(5,\)"):
        layer(X)


def test_what_the_functions_refuse():
    with pytest.raises(ValueError, match="batch_norm_train: expected at least two values of each channel; got"):
        BatchNorm(6)(X[:1, 0, 0])
    with pytest.raises(ValueError, match=r"group_norm: expected the last axis to be a multiple of groups; got .*=4"):
        GroupNorm(6, 4)(X)
    with pytest.raises(ValueError, match="local_response_norm: expected an odd size; got size=4"):
        LocalResponseNorm(size=4)(X)


def test_blocks_may_hand_over_their_keys():
    for layer in (BatchNorm(6, rngs=nnx.Rngs(0)), LayerNorm(6, rngs=nnx.Rngs(0)), GroupNorm(6, 2, rngs=nnx.Rngs(0))):
        assert set(arrays(layer)[0]) == {"scale", "bias"}
