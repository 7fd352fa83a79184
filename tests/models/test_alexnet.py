import jax
import jax.numpy as jnp
import pytest

from jax231.core import tree
from jax231.models import zoo
from jax231.models.alexnet import alexnet
from jax231.nn.bridge import functionalize, watched_apply

IMAGENET = (224, 224, 3)
SMALL = {"channels": (2, 4, 4, 4, 4), "units": 6}


def shapes(constructor, shape):
    """The shape of what each layer puts out for one image, and all parameters."""
    model, seen = functionalize(constructor), {}
    params, state = jax.eval_shape(model.init, jax.random.key(0))

    def watch(name, layer, inputs, output):
        seen.setdefault(name, output.shape[1:])
        return output

    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    jax.eval_shape(lambda p, x: watched_apply(constructor)(watch, p, state, x), params, x)
    return seen, params


def test_parameters_and_maps_are_those_of_torchvision():
    seen, params = shapes(alexnet(IMAGENET, 1000), IMAGENET)
    assert tree.size(params) == 61_100_840
    assert [seen[f"conv{i}"] for i in range(1, 6)] == [
        (55, 55, 64),
        (27, 27, 192),
        *[(13, 13, c) for c in (384, 256, 256)],
    ]
    assert params["fc6"]["kernel"].shape == (6 * 6 * 256, 4096)
    assert "norm" not in seen


def test_the_net_of_2012_has_two_columns_and_response_norms():
    """60 million parameters in the paper: without biases 60,954,656."""
    entry = zoo.entry("alexnet_2012")
    constructor = entry.constructor(IMAGENET, 1000)
    seen, params = shapes(constructor, IMAGENET)
    kernels = {name: layer["kernel"].shape for name, layer in params.items()}
    assert kernels["conv2"] == (5, 5, 48, 256)
    assert kernels["conv3"] == (3, 3, 256, 384)
    assert (kernels["conv4"], kernels["conv5"]) == ((3, 3, 192, 384), (3, 3, 192, 256))
    assert tree.size([layer["kernel"] for layer in params.values()]) == 60_954_656
    assert seen["norm"] == (55, 55, 96)


def test_the_smallest_image_leaves_one_pixel():
    seen, params = shapes(alexnet((63, 63, 1), 3, **SMALL), (63, 63, 1))
    assert (seen["conv5"], params["fc6"]["kernel"].shape) == ((3, 3, 4), (4, 6))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"alexnet: expected images of at least 63x63; got shape=\(62, 64, 3\)"):
        alexnet((62, 64, 3), 10)
    with pytest.raises(ValueError, match=r"alexnet: expected images \(h, w, c\); got shape=\(64, 64\)"):
        alexnet((64, 64), 10)
    with pytest.raises(ValueError, match=r"alexnet: expected channels of five convolutions; got channels=\(1, 2\)"):
        alexnet((64, 64, 3), 10, channels=(1, 2))
    for groups in (0, 3):
        with pytest.raises(
            ValueError, match=rf"alexnet: expected channels that are multiples .*; got .*groups={groups}"
        ):
            alexnet((64, 64, 3), 10, groups=groups)
