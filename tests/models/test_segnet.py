import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional.conv import conv2d
from jax231.functional.norm import batch_norm_eval
from jax231.functional.pool import max_pool_with_switches, max_unpool
from jax231.models.segnet import segnet
from jax231.nn.bridge import functionalize, watched_apply
from jax231.nn.pool import MaxUnpool
from jax231.nn.stage import Stage
from tests.nuclei import crops, learned
from tests.random_weights import random_weights

SHAPE = (13, 10, 3)
SMALL = {"channels": (4, 6), "convolutions": (1, 2)}
IMAGES = np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)


def windows(x):
    """The four pixels of each 2x2 window, on an axis of their own."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).swapaxes(2, 3).reshape(n, h // 2, w // 2, 4, c)


def test_parameters_are_those_of_the_convolutions_of_vgg_there_and_back():
    params, state = jax.eval_shape(functionalize(segnet((360, 480, 3), 11)).init, jax.random.key(0))
    there = 14_714_688 - 4224  # without biases
    back = there - 9 * 64 * 3
    statistics = 2 * (4224 + 3 * 512 + 2 * 512 + 256 + 2 * 256 + 128 + 128 + 64 + 64)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == there + back + statistics + 9 * 64 * 11 + 11
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == statistics


def test_it_is_the_functional_calls_one_after_the_other():
    model = functionalize(segnet(SHAPE, 3, channels=(4,), convolutions=(1,)))
    params, state = random_weights(model)

    @jax.jit
    def both(params, state, x):
        layer, old = params["encoder"]["00"]["layers"]["00"], state["encoder"]["00"]["layers"]["00"]["norm"]
        norm = layer["norm"]
        h = conv2d(x, layer["conv"]["kernel"])
        h = jnp.maximum(batch_norm_eval(h, norm["scale"], norm["bias"], old["mean"], old["var"]), 0)
        h = max_unpool(*max_pool_with_switches(h, 2), h.shape)
        by_hand = conv2d(h, params["scores"]["kernel"], params["scores"]["bias"])
        return model.apply(params, state, x, train=False)[0], by_hand

    chex.assert_trees_all_close(*both(params, state, IMAGES), rtol=1e-5, atol=1e-6)


def test_every_unpooled_value_stands_where_its_stage_had_its_maximum():
    constructor = segnet(SHAPE, 3, **SMALL)
    params, state = random_weights(functionalize(constructor))

    @jax.jit
    def seen(params, state, x):
        values = {"stages": [], "unpooled": []}

        def watcher(name, layer, inputs, output):
            if isinstance(layer, Stage) and name.startswith("encoder"):
                values["stages"].append(output)
            if isinstance(layer, MaxUnpool):
                values["unpooled"].append(output)
            return output

        watched_apply(constructor)(watcher, params, state, x)
        return values

    values = jax.tree.map(np.asarray, seen(params, state, IMAGES))
    for stage, unpooled in zip(values["stages"], reversed(values["unpooled"]), strict=True):
        assert stage.shape == unpooled.shape
        h, w = stage.shape[1] // 2 * 2, stage.shape[2] // 2 * 2
        assert not unpooled[:, h:].any()
        assert not unpooled[:, :, w:].any()
        before, after = windows(stage[:, :h, :w]), windows(unpooled[:, :h, :w])
        assert ((after != 0).sum(3) <= 1).all()
        largest = np.broadcast_to(before.max(3, keepdims=True), before.shape)
        np.testing.assert_array_equal(before[after != 0], largest[after != 0])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"segnet: expected images of at least 32x32; got shape=\(16, 64, 3\)"):
        segnet((16, 64, 3), 2)
    with pytest.raises(ValueError, match=r"segnet: expected channels and convolutions of each stage; got channels="):
        segnet((64, 64, 3), 2, channels=(4, 8), convolutions=(1,))
    with pytest.raises(ValueError, match=r"segnet: expected images \(h, w, c\); got shape=\(64, 64\)"):
        segnet((64, 64), 2)


def test_it_learns_nuclei_by_heart(data_dir):
    batch = crops(data_dir)
    losses = learned(functionalize(segnet((32, 32, 3), 3, channels=(16, 24), convolutions=(2, 2))), batch)
    assert abs(losses[0] / np.log(3) - 1) < 0.2
    assert losses[-1] < 0.35
