import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.models import pretrained, zoo
from jax231.models.densenet import densenet
from jax231.models.densenet_cifar import densenet_cifar
from jax231.nn.bridge import functionalize, rate_kinds, watched_apply

IMAGENET = (224, 224, 3)


def parameters(constructor):
    return jax.eval_shape(functionalize(constructor).init, jax.random.key(0))[0]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("densenet121", 7_978_856),  # torchvision's
        ("densenet169", 14_149_480),
        ("densenet201", 20_013_928),
        ("densenet_bc_100_12", 769_162),  # the paper's table 2 says 0.8 million
    ],
)
def test_parameters_are_counted(name, count):
    entry = zoo.entry(name)
    params = parameters(entry.constructor(entry.shape, entry.classes))
    assert sum(math.prod(p.shape) for p in jax.tree.leaves(params)) == count


def maps(constructor, shape, names):
    """The output shapes of layers."""
    params, state = jax.eval_shape(functionalize(constructor).init, jax.random.key(0))
    seen = {}

    def watch(name, layer, inputs, output):
        seen[name] = output.shape
        return output

    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    jax.eval_shape(lambda *arrays: watched_apply(constructor)(watch, *arrays), params, state, x)
    return {name: seen[name][1:] for name in names}


def test_maps_have_the_sizes_of_the_paper():
    expected = {
        "conv0": (112, 64), "pool0": (56, 64), "denseblock1": (56, 128), "transition1": (28, 64),
        "denseblock2": (28, 96), "denseblock3": (14, 80), "transition3": (7, 40), "norm5": (7, 72),
    }  # fmt: skip
    seen = maps(densenet(IMAGENET, 1000, blocks=(2, 1, 1, 1)), IMAGENET, expected)
    assert seen == {name: (s, s, c) for name, (s, c) in expected.items()}


def test_small_images_keep_their_size_up_to_the_first_transition():
    constructor = densenet_cifar((32, 32, 3), 10, depth=22)
    expected = {"conv0": (32, 24), "denseblock1": (32, 60), "transition1": (16, 30), "norm5": (8, 69)}
    seen = maps(constructor, (32, 32, 3), expected)
    assert seen == {name: (s, s, c) for name, (s, c) in expected.items()}
    assert "norm0" not in parameters(constructor)


def test_dropout_is_there_where_it_is_wanted():
    options = {"blocks": (1, 1), "growth": 2}
    assert rate_kinds(densenet_cifar((8, 8, 3), 2, **options)) == ()
    assert rate_kinds(densenet_cifar((8, 8, 3), 2, dropout=0.2, **options)) == ("dropout",)
    assert rate_kinds(densenet((32, 32, 3), 2, dropout=0.2, **options)) == ("dropout",)


def test_weights_have_torchvision_s_names_and_come_back():
    arguments = {"blocks": (2, 1), "growth": 2, "width": 4}
    wanted = jax.eval_shape(zoo.entry("densenet121").build((8, 8, 3), 3, **arguments).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params, state = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), wanted)
    weights = pretrained.to_state_dict("densenet121", params, state)
    again = pretrained.load("densenet121", weights, shape=(8, 8, 3), classes=3, **arguments)
    chex.assert_trees_all_equal(again, (params, state))
    expected = {
        "features.conv0.weight": (4, 3, 7, 7), "features.denseblock1.denselayer2.norm1.weight": (6,),
        "features.denseblock1.denselayer2.conv2.weight": (2, 8, 3, 3), "features.transition1.conv.weight": (4, 8, 1, 1),
        "features.norm5.running_var": (6,), "classifier.weight": (3, 6),
    }  # fmt: skip
    assert {name: weights[name].shape for name in expected} == expected


@pytest.mark.parametrize("remat", [False, True])
def test_rematerialization_reaches_the_layers(remat):
    model = functionalize(densenet((5, 5, 3), 2, blocks=(2, 1), growth=2, width=2, remat=remat))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((2, 5, 5, 3), jnp.float32)
    jaxpr = jax.make_jaxpr(lambda *given: model.apply(*given, train=True))(params, state, x)
    names = [equation.primitive.name for equation in jaxpr.eqns]
    assert sum(name in ("checkpoint", "remat", "remat2") for name in names) == (3 if remat else 0)


def test_depths_and_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"densenet: expected a depth among 121, 169, 201; got depth=120"):
        densenet(IMAGENET, 2, depth=120)
    with pytest.raises(ValueError, match=r"densenet: expected images of at least 29x29; got shape=\(32, 28, 3\)"):
        densenet((32, 28, 3), 2)
    with pytest.raises(ValueError, match=r"densenet_cifar: expected a depth of 6 n \+ 4; got depth=102"):
        densenet_cifar((32, 32, 3), 2, depth=102)
    with pytest.raises(ValueError, match=r"densenet_cifar: expected images of at least 4x4; got shape=\(3, 3, 3\)"):
        densenet_cifar((3, 3, 3), 2)
    smallest = densenet((29, 29, 3), 2, blocks=(1, 1, 1, 1))
    assert maps(smallest, (29, 29, 3), ["norm5"])["norm5"][:2] == (1, 1)
