import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.models.deconvnet import deconvnet
from jax231.nn.bridge import functionalize, watched_apply
from tests.nuclei import crops, learned
from tests.random_weights import random_weights

SHAPE = (13, 8, 3)
SMALL = {"channels": (4, 6), "convolutions": (1, 2), "units": 5}


def test_parameters_are_those_of_the_paper_s_table():
    params, _ = jax.eval_shape(functionalize(deconvnet((224, 224, 3), 21)).init, jax.random.key(0))
    convolutions = 14_714_688 - 4224
    dense = 2 * 49 * 512 * 4096 + 4096 * 4096
    backwards = convolutions - 9 * 64 * 3 + 9 * 64 * 64
    statistics = 2 * (4224 + 2 * 4096 + 512 + 3712 + 64)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == convolutions + dense + backwards + statistics + 65 * 21


def test_the_middle_sees_all_of_the_image_and_what_it_makes_has_the_size_of_the_last_pooling():
    constructor = deconvnet(SHAPE, 3, **SMALL)
    params, state = jax.eval_shape(functionalize(constructor).init, jax.random.key(0))
    shapes = {}

    def watcher(name, layer, inputs, output):
        if name.startswith("fc"):
            shapes[name] = output.shape
        return output

    images = jax.ShapeDtypeStruct((2, *SHAPE), jnp.float32)
    scores = jax.eval_shape(lambda p, s, x: watched_apply(constructor)(watcher, p, s, x), params, state, images)
    assert [shapes[name] for name in ("fc6", "fc7", "fc6_back")] == [(2, 1, 1, 5), (2, 1, 1, 5), (2, 3, 2, 6)]
    assert scores.shape == (2, 13, 8, 3)


def test_every_score_depends_on_every_corner_of_the_image():
    constructor = deconvnet((8, 8, 1), 2, **SMALL)
    model = functionalize(constructor)
    params, state = random_weights(model)
    params = jax.tree.map(np.abs, params)  # so that relu lets everything through
    image = np.random.default_rng(0).standard_normal((1, 8, 8, 1)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda x: model.apply(params, state, x, train=False)[0][0, 0, 0].sum()))(image)
    corners = gradient[0, :4, :4], gradient[0, 4:, :4], gradient[0, :4, 4:], gradient[0, 4:, 4:]
    assert all(bool((part != 0).any()) for part in corners)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"deconvnet: expected images of at least 32x32; got shape=\(16, 64, 3\)"):
        deconvnet((16, 64, 3), 2)
    with pytest.raises(ValueError, match=r"deconvnet: expected channels and convolutions of each stage; got channels="):
        deconvnet((64, 64, 3), 2, channels=(4, 8), convolutions=(1, 0))


def test_it_learns_nuclei_by_heart(data_dir):
    batch = crops(data_dir)
    options = {"channels": (16, 24), "convolutions": (1, 1), "units": 32}
    losses = learned(functionalize(deconvnet((32, 32, 3), 3, **options)), batch)
    assert abs(losses[0] / np.log(3) - 1) < 0.2
    assert losses[-1] < 0.35
