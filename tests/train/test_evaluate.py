"""Scores over a whole split, its last partial batch included."""

import jax
import numpy as np
import pytest

from jax231.core.types import Batch
from jax231.data import preprocess
from jax231.functional.losses import softmax_cross_entropy
from jax231.train import evaluate, network
from tests import runs


@pytest.mark.parametrize("count", [3, 8, 21])
def test_means_over_all_images(monkeypatch, count):
    monkeypatch.setattr(evaluate, "BATCH", 8)
    config, splits = runs.config(model="softmax"), runs.images()
    part = Batch(splits.train.inputs[:count], splits.train.targets[:count])
    net = network.build(config, splits.shape, 3)
    params, state = net.model.init(jax.random.key(0))
    scores = evaluate.program(config, net, splits)(params, state, evaluate.laid_out(config, splits, part))
    x = preprocess.apply(splits.stats, part.inputs)
    logits = x.reshape(count, -1) @ np.asarray(params["scores"]["kernel"]) + np.asarray(params["scores"]["bias"])
    np.testing.assert_allclose(scores.loss, softmax_cross_entropy(logits, part.targets).mean(), rtol=1e-5)
    np.testing.assert_allclose(scores.accuracy, np.mean(logits.argmax(-1) == part.targets), rtol=1e-6)
    assert scores.examples == count


def test_means_over_all_characters():
    """One row of windows is the text read once, however its end falls."""
    config, splits = runs.config(model="char_rnn", arguments={"hidden": 5}, batch=1, length=6), runs.text()
    net = network.build(config, splits.shape, len(splits.classes))
    params, state = net.model.init(jax.random.key(0))
    part = Batch(splits.validation.inputs[:33], None)
    scores = evaluate.program(config, net, splits)(params, state, evaluate.laid_out(config, splits, part))
    codes = part.inputs[None]
    (_, logits), _ = net.model.apply(params, state, (None, codes[:, :-1]), train=False)
    np.testing.assert_allclose(scores.loss, softmax_cross_entropy(logits, codes[:, 1:]).mean(), rtol=1e-5)
    assert scores.examples == 32
