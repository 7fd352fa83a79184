import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jax231.core import tree
from jax231.models.all_conv import all_conv
from jax231.nn.bridge import functionalize, rate_kinds, watched_apply
from jax231.nn.noise import noisy


def test_parameters_and_maps_are_those_of_the_paper():
    """All-CNN-C on CIFAR: 1.4 million parameters in its table 4."""
    constructor, seen = all_conv((32, 32, 3), 10), {}
    params, state = jax.eval_shape(functionalize(constructor).init, jax.random.key(0))

    def watch(name, layer, inputs, output):
        seen[name] = output.shape[1:]
        return output

    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    jax.eval_shape(lambda p, x: watched_apply(constructor)(watch, p, state, x), params, x)
    fans = [(9, 3, 96), *[(9, 96, 96)] * 2, (9, 96, 192), *[(9, 192, 192)] * 3, (1, 192, 192), (1, 192, 10)]
    assert tree.size(params) == sum(window * cin * cout + cout for window, cin, cout in fans) == 1_369_738
    sides = {"conv1": 32, "conv2": 32, "conv3": 16, "conv5": 16, "conv6": 8, "conv7": 6, "conv8": 6, "scores": 6}
    assert {name: seen[name][0] for name in sides} == sides
    assert seen[""] == (10,)


def test_the_images_are_thinned_with_less_than_the_maps():
    net = all_conv((9, 9, 1), 3, channels=(2, 2))
    module = nnx.eval_shape(lambda: net(nnx.Rngs(0)))
    assert [layer.share * layer.default for layer in noisy(module)] == [0.2, 0.5, 0.5]
    assert rate_kinds(net) == ("dropout",)
    assert rate_kinds(all_conv((9, 9, 1), 3, channels=(2, 2), dropout=0.0)) == ()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"all_conv: expected images of at least 9x9; got shape=\(8, 9, 3\)"):
        all_conv((8, 9, 3), 10)
    with pytest.raises(ValueError, match=r"all_conv: expected images \(h, w, c\); got shape=\(9,\)"):
        all_conv((9,), 10)
    with pytest.raises(ValueError, match=r"all_conv: expected images of at least one channel; got shape=\(9, 9, 0\)"):
        all_conv((9, 9, 0), 10)
    with pytest.raises(ValueError, match=r"all_conv: expected channels before .*; got channels=\(1, 2, 3\)"):
        all_conv((9, 9, 1), 10, channels=(1, 2, 3))
