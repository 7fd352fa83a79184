"""The two ways of learning on made-up images and features."""

from dataclasses import replace

import numpy as np
import squeezenet_transfer

from jax231.data.dataset import Examples


def test_a_linear_classifier_by_the_penalty_that_does_best(monkeypatch):
    """Features of which two of thirty tell the class: a strong penalty beats none, and blocks beat chance."""
    monkeypatch.setattr(squeezenet_transfer, "PENALTIES", (1e-4, 0.1))
    random = np.random.default_rng(0)
    labels = np.arange(90).astype(np.int32) % 3
    x = random.normal(size=(90, 30)).astype(np.float32)
    x[np.arange(90), labels] += 3
    row = squeezenet_transfer.from_features(x[:60], x[60:], labels[:60], labels[60:], 15, 3)
    assert row["penalty"] in (1e-4, 0.1)
    assert len(row["validation"]) == 2
    assert row["accuracy"] > 0.8


def test_a_network_from_scratch():
    random = np.random.default_rng(0)
    labels = np.arange(16).astype(np.int32) % 2
    images = (random.integers(0, 100, (16, 8, 8, 3)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    base = replace(
        squeezenet_transfer.SCRATCH, model="two_layer", arguments={"hidden": 8}, epochs=5, batch=8, augment=()
    )
    known = Examples(images, labels)
    assert squeezenet_transfer.from_scratch(known, known, base, ("a", "b")) > 0.8
