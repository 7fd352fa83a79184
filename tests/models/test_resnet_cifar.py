import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.models.resnet import ResNet
from jax231.models.resnet_cifar import resnet_cifar
from jax231.nn.affine import Affine
from jax231.nn.bridge import functionalize
from jax231.nn.conv import Conv
from jax231.nn.residual import BasicBlock

SHAPE = (32, 32, 3)


def layers(constructor, kinds):
    net = nnx.eval_shape(lambda: constructor(nnx.Rngs(0)))
    return [layer for _, layer in nnx.iter_modules(net) if isinstance(layer, kinds)]


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameters_are_those_of_the_paper(depth, millions):
    params, _ = jax.eval_shape(functionalize(resnet_cifar(SHAPE, 10, depth=depth)).init, jax.random.key(0))
    count = sum(math.prod(p.shape) for p in jax.tree.leaves(params))
    assert round(count / 1e6, len(str(millions)) - 2) == millions


@pytest.mark.parametrize("depth", [20, 56])
@pytest.mark.parametrize("options", [{}, {"residual": False}, {"preactivation": True}])
def test_the_depth_counts_layers_with_weights(depth, options):
    assert len(layers(resnet_cifar(SHAPE, 10, depth=depth, **options), Conv | Affine)) == depth


def test_projections_are_two_more_convolutions():
    projected = resnet_cifar(SHAPE, 10, depth=20, shortcut="projection")
    assert len(layers(projected, Conv)) == 19 + 2


def test_with_every_branch_at_zero_the_last_stage_sees_the_first_convolution():
    options = {"large_images": False, "shortcut": "padding", "zero_init": True}
    net = ResNet(BasicBlock, (1, 1, 1), 4, 10, **options, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
    *_, last = net.features(x)
    np.testing.assert_array_equal(last[..., :4], net.bn1(net.conv1(x))[:, ::4, ::4])
    assert not last[..., 4:].any()


def test_other_depths_are_refused():
    with pytest.raises(ValueError, match=r"resnet_cifar: expected a depth of 6 n \+ 2; got depth=21"):
        resnet_cifar(SHAPE, 10, depth=21)
