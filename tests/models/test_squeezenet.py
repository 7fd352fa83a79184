import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional.activations import relu
from jax231.models import zoo
from jax231.models.squeezenet import squeezenet
from jax231.nn.bridge import functionalize, watched_apply

IMAGENET = (224, 224, 3)


def shapes(constructor, size):
    """The output shape of every layer."""
    model, seen = functionalize(constructor), {}
    params, state = jax.eval_shape(model.init, jax.random.key(0))

    def watch(name, layer, inputs, output):
        seen[name] = output.shape
        return output

    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    jax.eval_shape(lambda *arrays: watched_apply(constructor)(watch, *arrays), params, state, x)
    return seen


def test_parameters_are_those_of_torchvision():
    params, _ = jax.eval_shape(zoo.entry("squeezenet").build(IMAGENET, 1000).init, jax.random.key(0))
    assert sum(math.prod(p.shape) for p in jax.tree.leaves(params)) == 1_248_424


def test_maps_have_the_sizes_of_the_paper():
    seen = shapes(squeezenet(IMAGENET, 1000), 224)
    expected = {"conv1": (109, 96), "fire2": (54, 128), "fire4": (54, 256), "fire5": (27, 256), "fire8": (27, 512)}
    expected |= {"fire9": (13, 512), "conv10": (13, 1000)}
    assert {name: seen[name] for name in expected} == {name: (1, s, s, c) for name, (s, c) in expected.items()}


def test_the_variant_of_caffe_counts_a_border_of_biases():
    plain, padded = (
        functionalize(squeezenet((29, 29, 3), 5, stages=((1,), (1,), (2,)), width=2, last_padding=padding))
        for padding in (0, 1)
    )
    params, state = plain.init(jax.random.key(0))
    params["conv10"]["bias"] = jnp.linspace(-1.0, 1.0, 5)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 29, 29, 3)), jnp.float32)
    inside, with_border = plain.apply(params, state, x)[0], padded.apply(params, state, x)[0]
    assert shapes(squeezenet((227, 227, 3), 9, last_padding=1), 227)["conv10"] == (1, 15, 15, 9)
    np.testing.assert_allclose(9 * with_border, inside + 8 * relu(params["conv10"]["bias"]), rtol=1e-5, atol=1e-6)


def test_images_that_are_too_small_are_refused():
    assert shapes(squeezenet((29, 29, 3), 2), 29)["conv10"] == (1, 1, 1, 2)
    with pytest.raises(ValueError, match=r"squeezenet: expected images of at least 29x29; got shape=\(28, 40, 3\)"):
        squeezenet((28, 40, 3), 2)
