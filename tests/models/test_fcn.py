import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional.initializers import bilinear
from jax231.functional.pool import bilinear_upsample
from jax231.models.fcn import fcn
from jax231.models.vgg import vgg
from jax231.nn.bridge import functionalize, watched_apply
from tests.nuclei import crops, learned
from tests.random_weights import random_weights

VGG16 = 14_714_688 + (49 * 512 + 1) * 4096 + 4097 * 4096
WIDTHS = {"depth": 11, "channels": (2, 3, 4, 4, 4)}
SMALL = {**WIDTHS, "units": 6, "window": 1}
TINY_RESNET = {"backbone": "resnet", "depth": 18, "stages": (1, 1, 1, 1), "width": 2}


def applied(model):
    return jax.jit(lambda params, state, images: model.apply(params, state, images, train=False)[0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stride": 32}, VGG16 + 4097 * 21),
        ({"stride": 8}, VGG16 + (4097 + 513 + 257) * 21 + 2 * 16 * 21**2),
        ({"backbone": "resnet"}, 25_557_032 - 2049 * 1000 + (2049 + 1025 + 513) * 21 + 2 * 16 * 21**2),
    ],
)  # fmt: skip
def test_parameters_are_those_of_the_classifier_and_the_scores(options, expected):
    params, _ = jax.eval_shape(functionalize(fcn((224, 224, 3), 21, **options)).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize("size", [(1, 1), (45, 70), (64, 32)])
@pytest.mark.parametrize("options", [{"stride": 32, **SMALL}, {"stride": 8, **SMALL}, TINY_RESNET])
def test_scores_have_the_size_of_the_image_whatever_it_is(size, options):
    model = functionalize(fcn((*size, 3), 5, **options))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    scores, _ = jax.eval_shape(lambda p, s, x: model.apply(p, s, x, train=False), params, state, images)
    assert scores.shape == (2, *size, 5)


def test_on_an_image_of_one_window_it_is_the_classifier():
    shape, n = (32, 32, 3), 2
    classifier = functionalize(vgg(shape, 5, **WIDTHS, units=6))
    params, _ = random_weights(classifier)
    images = np.random.default_rng(0).standard_normal((n, *shape)).astype(np.float32)
    expected = applied(classifier)(params, {}, images)

    conv = lambda affine: {"kernel": affine["kernel"][None, None], "bias": affine["bias"]}  # noqa: E731
    fc6, fc7 = (layer["affine"] for _, layer in sorted(params["classifier"]["hidden"].items()))
    features = {"stages": params["stages"], "fc6": conv(fc6), "fc7": conv(fc7)}
    slid = {"features": features, "scores": {"00": conv(params["classifier"]["scores"])}}
    scores = applied(functionalize(fcn(shape, 5, stride=32, **SMALL)))(slid, {}, images)
    chex.assert_trees_all_close(scores, jnp.broadcast_to(expected[:, None, None], scores.shape), rtol=1e-5, atol=1e-6)


def test_an_image_moved_by_the_stride_has_its_scores_moved_alike():
    side, stride = 256, 32
    model = functionalize(fcn((side, side, 1), 2, stride=8, **SMALL))
    params, state = random_weights(model)
    # without biases black pixels are as the zeros around the image
    params = jax.tree.map(lambda p: 0 * p if p.ndim == 1 else p, params)
    images = np.zeros((2, side, side, 1), np.float32)
    images[0, 104:120, 104:120] = np.random.default_rng(0).standard_normal((16, 16, 1))
    images[1, stride:, stride:] = images[0, :-stride, :-stride]
    scores = applied(model)(params, state, images)
    assert bool(jnp.abs(scores).max() > 1e-3)
    chex.assert_trees_all_close(scores[1, stride:, stride:], scores[0, :-stride, :-stride], rtol=1e-4, atol=1e-7)


def test_finer_scores_of_zero_leave_the_coarse_ones_interpolated():
    constructor = fcn((96, 96, 3), 2, stride=16, **SMALL)
    params, state = random_weights(functionalize(constructor))
    params["scores"]["00"] = jax.tree.map(np.zeros_like, params["scores"]["00"])
    params["up"]["00"]["kernel"] = bilinear()(jax.random.key(0), (4, 4, 2, 2))
    images = np.random.default_rng(0).standard_normal((1, 96, 96, 3)).astype(np.float32)

    @jax.jit
    def run(params, state, images):
        seen = {}

        def watcher(name, layer, inputs, output):
            seen[name] = output
            return output

        scores = watched_apply(constructor)(watcher, params, state, images)
        return scores, bilinear_upsample(bilinear_upsample(seen["scores/01"], 2), 16)

    scores, expected = run(params, state, images)
    inside = np.s_[:, 24:-24, 24:-24]  # the outermost of the pixels twice as many fade towards the zeros around
    chex.assert_trees_all_close(scores[inside], expected[inside], rtol=1e-5, atol=1e-6)
    assert bool(jnp.ptp(scores[inside]) > 1e-3)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"fcn: expected a backbone among vgg, resnet; got backbone='lenet'"):
        fcn((32, 32, 3), 2, backbone="lenet")
    with pytest.raises(ValueError, match=r"fcn: expected a stride among 8, 16, 32; got stride=4"):
        fcn((32, 32, 3), 2, stride=4)
    with pytest.raises(ValueError, match=r"fcn: expected a depth among 11, 13, 16, 19; got depth=18"):
        functionalize(fcn((32, 32, 3), 2, depth=18)).init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"fcn: expected blocks of four stages; got stages=\(1, 1\)"):
        functionalize(fcn((32, 32, 3), 2, backbone="resnet", stages=(1, 1))).init(jax.random.key(0))


def test_it_learns_nuclei_by_heart(data_dir):
    options = {"backbone": "resnet", "depth": 18, "stages": (1, 1, 1, 1), "width": 12}
    losses = learned(functionalize(fcn((64, 64, 3), 3, **options)), crops(data_dir, size=64), steps=40)
    assert abs(losses[0] / np.log(3) - 1) < 0.2
    assert losses[-1] < 0.6
