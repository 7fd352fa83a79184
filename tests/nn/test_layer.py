"""Layers are watched while they are traced, and compute in a type of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.nn.affine import Affine, DropConnect
from jax231.nn.bridge import arrays
from jax231.nn.conv import Conv, ConvTranspose
from jax231.nn.layer import Layer, compute_in, watched, watching
from jax231.nn.norm import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm
from jax231.nn.pool import AvgPool, GlobalAvgPool, MaxPool
from jax231.nn.prelu import PReLU
from jax231.nn.recurrent import LSTM, RNN, Embedding

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4, 4)), jnp.float32)


class Twice(Layer):
    """One layer, applied twice."""

    def __init__(self, rngs: nnx.Rngs):
        self.affine = Affine(4, 4, rngs=rngs)

    def __call__(self, x):
        return self.affine(self.affine(x))


def test_a_watcher_sees_every_call_the_innermost_first():
    layer, seen = Twice(nnx.Rngs(0)), []

    def watch(layer, inputs, output):
        seen.append((type(layer).__name__, inputs[0].shape, output.shape, watched()))
        return output

    x = jnp.ones((3, 4))
    with watching(watch):
        jax.eval_shape(layer, x)
    assert seen == [("Affine", (3, 4), (3, 4), True)] * 2 + [("Twice", (3, 4), (3, 4), True)]
    layer(x)
    assert (len(seen), watched()) == (3, False)


def test_a_watcher_may_change_what_a_layer_returns():
    layer, x = Twice(nnx.Rngs(0)), jnp.ones((3, 4))
    with watching(lambda layer, inputs, output: output + 1 if isinstance(layer, Affine) else output):
        y = layer(x)
    np.testing.assert_array_equal(y, layer.affine(layer.affine(x) + 1) + 1)


def test_contexts_nest_and_end_where_something_fails():
    seen = []

    def watcher(name):
        return lambda layer, inputs, output: seen.append(name) or output

    layer, x = Affine(4, 4, rngs=nnx.Rngs(0)), jnp.ones((1, 4))
    with watching(watcher("outer")):
        with watching(watcher("inner")):
            layer(x)
        with pytest.raises(ValueError, match="affine: expected"), watching(watcher("failed")):
            layer(jnp.ones((1, 5)))
        layer(x)
    assert seen == ["inner", "outer"]
    assert not watched()


@pytest.mark.parametrize(
    "layer",
    [
        lambda rngs: Affine(4, 3, rngs=rngs),
        lambda rngs: DropConnect(4, 3, rngs=rngs),
        lambda rngs: Conv(4, 3, 3, rngs=rngs),
        lambda rngs: ConvTranspose(4, 3, 3, rngs=rngs),
        lambda rngs: PReLU(4),
        lambda rngs: BatchNorm(4),
        lambda rngs: LayerNorm(4),
        lambda rngs: GroupNorm(4, 2),
        lambda rngs: LocalResponseNorm(),
        lambda rngs: MaxPool(2),
        lambda rngs: AvgPool(2),
        lambda rngs: GlobalAvgPool(),
    ],
)
def test_layers_compute_in_a_narrow_type_and_keep_their_arrays(layer):
    layer = layer(nnx.Rngs(0))
    layer.eval()
    wide = layer(IMAGES)
    before = arrays(layer)
    narrow = compute_in(layer, jnp.bfloat16)(IMAGES)
    assert (wide.dtype, narrow.dtype) == (jnp.float32, jnp.bfloat16)
    jax.tree.map(np.testing.assert_array_equal, arrays(layer), before)
    assert 0 < jnp.linalg.norm(narrow - wide) <= 0.02 * jnp.linalg.norm(wide)
    np.testing.assert_array_equal(compute_in(layer, None)(IMAGES), wide)


def test_statistics_of_batch_norm_are_formed_in_float32():
    layer = compute_in(BatchNorm(4), jnp.bfloat16)
    y = layer(IMAGES)
    x = np.asarray(IMAGES.astype(jnp.bfloat16), np.float64).reshape(-1, 4)
    assert (y.dtype, layer.mean.dtype, layer.var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    np.testing.assert_allclose(layer.mean[...], 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.var[...], 0.9 + 0.1 * x.var(0, ddof=1), rtol=1e-5)


@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_recurrent_layers_in_a_narrow_type(kind):
    def run(xs):
        layer = compute_in(kind(4, 3, rngs=nnx.Rngs(0)), jnp.bfloat16)
        return layer(layer.zero_carry(2), xs), layer.wx[...]

    outputs, wx = jax.eval_shape(run, IMAGES[:, :, 0])
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {jnp.dtype(jnp.bfloat16)}
    assert wx.dtype == jnp.float32


def test_integers_stay_integers():
    layer = compute_in(Embedding(5, 3, rngs=nnx.Rngs(0)), jnp.bfloat16)
    assert layer.cast(np.arange(3)).dtype == jnp.int32
    np.testing.assert_array_equal(layer(jnp.arange(3)), layer.table[...].astype(jnp.bfloat16)[:3])


def test_types_that_are_not_floating_are_refused():
    with pytest.raises(ValueError, match=r"compute_in: expected a floating type, .*; got dtype=.*int32"):
        compute_in(Affine(2, 2, rngs=nnx.Rngs(0)), jnp.int32)
