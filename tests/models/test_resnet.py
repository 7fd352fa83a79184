import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.models import zoo
from jax231.models.resnet import ResNet, resnet
from jax231.nn.bridge import functionalize, layer_names
from jax231.nn.noise import noisy
from jax231.nn.residual import Bottleneck
from tests.derivatives import relative_error

SHAPE = (17, 16, 3)
SMALL = {"stages": (2, 1), "width": 4}
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, *SHAPE)), jnp.float32)


def counted(model):
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    return sum(math.prod(p.shape) for p in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
    ],
)
def test_parameters_are_those_of_torchvision(name, parameters):
    entry = zoo.entry(name)
    assert counted(entry.build(entry.shape, entry.classes)) == parameters


def test_stages_halve_the_image_and_widen():
    def features():
        net = ResNet(Bottleneck, (1, 1, 1, 1), 64, 10, rngs=nnx.Rngs(0))
        return net.features(jnp.zeros((1, 224, 224, 3)))

    shapes = [feature.shape for feature in jax.eval_shape(features)]
    assert shapes == [(1, 56, 56, 256), (1, 28, 28, 512), (1, 14, 14, 1024), (1, 7, 7, 2048)]


@pytest.mark.parametrize("depth", [18, 50])
def test_pre_activation_normalises_before_the_mean_and_not_in_the_shortcut(depth):
    model = functionalize(resnet(SHAPE, 7, depth=depth, preactivation=True, **SMALL))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    scores, _ = jax.eval_shape(lambda p, s, x: model.apply(p, s, x, train=True), params, state, X)
    assert scores.shape == (3, 7)
    assert "bn1" not in params["layer1"]["00"]
    assert "bn1" in params["layer1"]["01"]
    assert "bn" not in params["layer2"]["00"]["downsample"]
    assert params["bn"]["scale"].shape == params["fc"]["kernel"].shape[:1]


def test_rematerialized_blocks_give_the_same_gradients_and_statistics():
    def results(remat):
        options = {"stochastic_depth": 0.5, "remat": remat}
        model = functionalize(resnet(SHAPE, 4, depth=18, **options, stages=(1, 1), width=4))
        params, state = model.init(jax.random.key(0))

        def loss(params):
            scores, new = model.apply(params, state, X, train=True, key=jax.random.key(1))
            return jnp.sin(scores).sum(), new

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    kept, again = results(False), results(True)
    assert jax.tree.structure(kept) == jax.tree.structure(again)
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(again), strict=True):
        assert relative_error(b, a) <= 1e-4


def test_the_chance_to_be_dropped_grows_linearly_with_depth():
    net = resnet(SHAPE, 4, depth=18, stages=(2, 2), width=4, stochastic_depth=0.4)(nnx.Rngs(0))
    np.testing.assert_allclose([layer.chance() for layer in noisy(net)], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    assert all(name in layer_names(net).values() for name in ("layer1/00/drop", "layer2/01/drop"))


def test_errors_name_the_depth_and_the_shape():
    with pytest.raises(ValueError, match=r"resnet: expected a depth among 18, 34, 50, 101, 152; got depth=19"):
        resnet((224, 224, 3), 10, depth=19)
    with pytest.raises(ValueError, match=r"resnet: expected images \(h, w, c\); got shape=\(224, 224\)"):
        resnet((224, 224), 10)
