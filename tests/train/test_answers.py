"""Probabilities averaged over views and over networks, against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.unoptimized import jit_unoptimized
from jax231.data import preprocess, views
from jax231.train import answers, evaluate, network
from tests import runs

SPLITS = runs.images()


@pytest.fixture(scope="module")
def softmax():
    net = network.build(runs.config(model="softmax"), SPLITS.shape, 3)
    return net, jax.vmap(net.model.init)(jax.random.split(jax.random.key(0), 3))


def probabilities_by_loop(params: dict, images: np.ndarray) -> np.ndarray:
    found = np.zeros((len(images), 3))
    for row, image in enumerate(preprocess.apply(SPLITS.stats, images)):
        scores = image.reshape(-1) @ np.asarray(params["scores"]["kernel"]) + np.asarray(params["scores"]["bias"])
        found[row] = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    return found


def member(weights, i):
    return jax.tree.map(lambda x: x[i], weights)


def test_networks_together_over_views_are_the_mean_of_all(softmax):
    net, weights = softmax
    seen = views.named("ten_crop", margin=1)
    part = SPLITS.validation
    expected = []
    for i in range(3):
        crops = [np.asarray(x) for x in seen(jnp.asarray(part.inputs))]
        expected.append(np.mean([probabilities_by_loop(member(weights, i)[0], crop) for crop in crops], 0))
    found = evaluate.together(runs.config(model="softmax"), net, SPLITS, seen)(
        *weights, evaluate.laid_out(runs.config(), SPLITS, part)
    )
    right = np.asarray(expected)[:, np.arange(len(part.targets)), part.targets]
    np.testing.assert_allclose([x.loss for x in found.members], -np.log(right).mean(-1), rtol=1e-5)
    together = [right[: k + 1].mean(0) for k in range(3)]
    np.testing.assert_allclose([x.loss for x in found.growing], [-np.log(x).mean() for x in together], rtol=1e-5)
    shares = (np.mean(expected, 0).argmax(-1) == part.targets).mean()
    np.testing.assert_allclose(found.ensemble.accuracy, shares, rtol=1e-6)


def test_a_network_that_pools_over_any_area_sees_scales_whole():
    """By hand: the model's own probabilities at each size."""
    net = network.build(runs.config(model="all_conv", arguments={"channels": [4, 4]}), (9, 9, 3), 3)
    params, state = jit_unoptimized(net.model.init)(jax.random.key(0))
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3)), jnp.uint8)
    stats = preprocess.fit("per_channel", np.asarray(images))
    answer = answers.plain(net, stats)
    seen = answers.viewed(answer, net.entry, views.named("multi_scale", scales=(1.0, 1.5), dense=True))
    larger = views.resized(images, (14, 14))
    each = [jax.nn.softmax(jax.jit(answer)(params, state, x)) for x in (images, larger)]
    np.testing.assert_allclose(jnp.exp(jax.jit(seen)(params, state, images)), np.mean(each, 0), rtol=1e-5)


def test_what_has_no_views(softmax):
    net, weights = softmax
    images = jnp.asarray(SPLITS.test.inputs)
    dense = views.named("multi_scale", scales=(2.0,), dense=True)
    seen = answers.viewed(answers.plain(net, SPLITS.stats), net.entry, dense)
    with pytest.raises(ValueError, match=r"take images of any size; got images=\(8, 8, 1\), model='softmax', error="):
        seen(*member(weights, 0), images)
    svm = network.build(runs.config(model="svm"), SPLITS.shape, 3)
    with pytest.raises(ValueError, match=r"probabilities of an image's classes, which views average; got model='svm'"):
        answers.viewed(answers.plain(svm, SPLITS.stats), svm.entry, dense)
    config, text = runs.config(model="char_rnn", length=6), runs.text()
    with pytest.raises(ValueError, match="a run on images; got model='char_rnn'"):
        evaluate.program(config, network.build(config, text.shape, len(text.classes)), text, dense)
