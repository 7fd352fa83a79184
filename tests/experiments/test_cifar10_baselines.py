"""The neighbours of a made-up data set: one search for all k is a search for each."""

import cifar10_baselines
import numpy as np

from jax231.data.dataset import Dataset, Examples, Source
from jax231.functional.neighbors import knn_predict


def made(n, seed):
    random = np.random.default_rng(seed)
    labels = (np.arange(n) % 3).astype(np.int32)
    return Examples((random.integers(0, 160, (n, 2, 2, 3)) + 40 * labels[:, None, None, None]).astype(np.uint8), labels)


def test_one_search_serves_every_k(monkeypatch, tmp_path):
    monkeypatch.setattr(cifar10_baselines, "KS", (1, 3, 8))
    train, test = made(60, 0), made(30, 1)
    flat = cifar10_baselines.flat
    alone = [
        np.mean(np.asarray(knn_predict(flat(train.images), train.labels, flat(test.images), k)) == test.labels)
        for k in (1, 3, 8)
    ]
    np.testing.assert_allclose(cifar10_baselines.shares_right(train, test, 3), alone)
    dataset = Dataset("made", train, test, ("a", "b", "c"), Source("", "", ""), {}, 0)
    config = cifar10_baselines.Config(exercise=(40, 20), held_out=15, folder=tmp_path)
    facts = cifar10_baselines.measure(dataset, config)
    assert [(run["train"], run["test"]) for run in facts["runs"]] == [(40, 20), (40, 20), (60, 30)]
    (tmp_path / "recipe-cifar10-svm.json").write_bytes(b'{"runs": [{"accuracy": 0.39}]}')
    table = cifar10_baselines.table(facts, tmp_path)
    assert "| kNN, 60 / 30 | k = " in table
    assert "| linear SVM | recipe cifar10-svm | 39.0 % | about 39 % |" in table
