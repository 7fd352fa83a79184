import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.models import pretrained, zoo
from jax231.models.googlenet import GoogLeNetOutputs, googlenet
from jax231.nn.bridge import functionalize, rate_kinds, watched_apply

IMAGENET = (224, 224, 3)
SMALL = {"modules": ("4a", "5a"), "width": 1 / 32}


def counted(constructor):
    params, _ = jax.eval_shape(functionalize(constructor).init, jax.random.key(0))
    return sum(math.prod(p.shape) for p in jax.tree.leaves(params))


def outputs(constructor, train, n=2, shape=(15, 17, 3)):
    """What the net returns, as shapes."""
    model = functionalize(constructor)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((n, *shape), jnp.float32)
    key = jax.random.key(0) if train else None
    return jax.eval_shape(lambda *given: model.apply(*given, train=train, key=key)[0], params, state, x)


def test_parameters_are_those_of_torchvision():
    assert counted(googlenet(IMAGENET, 1000)) == 13_004_888
    assert counted(googlenet(IMAGENET, 1000, auxiliary=False)) == 6_624_904


def test_maps_have_the_sizes_of_the_paper():
    constructor, seen = googlenet(IMAGENET, 1000), {}
    params, state = jax.eval_shape(functionalize(constructor).init, jax.random.key(0))

    def watch(name, layer, inputs, output):
        seen[name] = (inputs, output)
        return output

    def run(*arrays):
        watched_apply(constructor)(watch, *arrays, train=True, key=jax.random.key(0))
        return {name: seen[name][1] for name in expected}, seen["aux1"][0][0], seen["aux2"][0][0]

    expected = {
        "conv1": (112, 64), "maxpool1": (56, 64), "conv3": (56, 192), "maxpool2": (28, 192),
        "inception3a": (28, 256), "inception3b": (28, 480), "inception4a": (14, 512), "inception4d": (14, 528),
        "inception4e": (14, 832), "maxpool4": (7, 832), "inception5b": (7, 1024), "aux1/pool": (4, 512),
        "aux2/conv": (4, 128),
    }  # fmt: skip
    maps, first, second = jax.eval_shape(run, params, state, jax.ShapeDtypeStruct((1, *IMAGENET), jnp.float32))
    assert {name: y.shape for name, y in maps.items()} == {name: (1, s, s, c) for name, (s, c) in expected.items()}
    assert (first.shape, second.shape) == (maps["inception4a"].shape, maps["inception4d"].shape)


def test_heads_answer_in_training_only():
    constructor = googlenet((15, 17, 3), 5, **SMALL)
    trained = outputs(constructor, train=True)
    assert isinstance(trained, GoogLeNetOutputs)
    assert [scores.shape for scores in trained] == [(2, 5)] * 3
    assert zoo.entry("googlenet").scores(trained) is trained.logits
    assert outputs(constructor, train=False).shape == (2, 5)
    assert outputs(googlenet((15, 17, 3), 5, **SMALL, auxiliary=False), train=True).shape == (2, 5)
    assert rate_kinds(constructor) == ("aux_dropout", "dropout")


def test_weights_have_torchvision_s_names_and_come_back():
    arguments = {"modules": ("4a",), "width": 1 / 32}
    wanted = jax.eval_shape(zoo.entry("googlenet").build((16, 16, 3), 3, **arguments).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params, state = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), wanted)
    weights = pretrained.to_state_dict("googlenet", params, state)
    again = pretrained.load("googlenet", weights, shape=(16, 16, 3), classes=3, **arguments)
    chex.assert_trees_all_equal(again, (params, state))
    expected = {
        "conv1.conv.weight": (2, 3, 7, 7), "inception4a.branch1.bn.running_mean": (6,),
        "inception4a.branch3.1.conv.weight": (2, 1, 3, 3), "inception4a.branch4.1.conv.weight": (2, 6, 1, 1),
        "aux1.conv.bn.weight": (4,), "aux2.fc1.weight": (32, 64), "fc.bias": (3,),
    }  # fmt: skip
    assert {name: weights[name].shape for name in expected} == expected
    pixels = params["aux1"]["fc1"]["kernel"].reshape(4, 4, 4, 32)  # h w c against c h w
    np.testing.assert_array_equal(weights["aux1.fc1.weight"].reshape(32, 4, 4, 4), pixels.transpose(3, 2, 0, 1))


def test_gradients_rematerialize_every_module():
    def checkpoints(remat):
        model = functionalize(googlenet((15, 17, 3), 5, **SMALL, remat=remat))
        params, state = jax.eval_shape(model.init, jax.random.key(0))
        x = jax.ShapeDtypeStruct((2, 15, 17, 3), jnp.float32)
        jaxpr = jax.make_jaxpr(lambda *given: model.apply(*given, train=False))(params, state, x)
        return sum(equation.primitive.name in ("checkpoint", "remat", "remat2") for equation in jaxpr.eqns)

    assert (checkpoints(False), checkpoints(True)) == (0, 2)


def test_images_and_modules_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"googlenet: expected images of at least 15x15; got shape=\(14, 40, 3\)"):
        googlenet((14, 40, 3), 2)
    with pytest.raises(ValueError, match=r"googlenet: expected modules among 3a, .*, in this order; got .*'4a', '3b'"):
        googlenet(IMAGENET, 2, modules=("4a", "3b"))
    with pytest.raises(ValueError, match=r"googlenet: expected modules among 3a, .*; got modules=\('6a',\)"):
        googlenet(IMAGENET, 2, modules=("6a",))
    with pytest.raises(ValueError, match=r"googlenet: expected a module of stage 4 for the heads; got modules=\('3a',"):
        googlenet(IMAGENET, 2, modules=("3a", "5b"))
    smallest = googlenet((15, 15, 3), 2, modules=("3a", "4a", "5a"), auxiliary=False)
    assert outputs(smallest, train=False, shape=(15, 15, 3)).shape == (2, 2)
