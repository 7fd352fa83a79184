"""The embedded digits: scikit-learn's own, split the same way for ever."""

import hashlib
import importlib.util

import numpy as np
import pytest

from jax231.data import digits as embedded
from jax231.data.digits import digits


def test_the_digits_are_scikit_learns():
    data = digits()
    pixels, labels = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    ours = np.concatenate([data.train.images, data.test.images]).reshape(1797, 64)
    ours = np.column_stack([ours, np.concatenate([data.train.labels, data.test.labels])])
    theirs = np.column_stack([pixels, labels]).astype(np.uint8)
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
    assert data.digests == {"digits.csv": hashlib.sha256(theirs.tobytes()).hexdigest()}


def test_the_stated_split():
    data = digits()
    train, validation, test = data.split()
    assert [len(part.labels) for part in (train, validation, test)] == [1197, 300, 300]
    assert data.shape == (8, 8, 1)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int32
    assert train.images.max() == 16
    for part in (validation, test):
        assert set(np.bincount(part.labels)) <= {29, 30, 31}
    assert test is data.test
    other = data.split(seed=1)
    assert not np.array_equal(other.validation.labels, validation.labels)
    np.testing.assert_array_equal(other.test.images, test.images)


def test_other_digits_are_noted(monkeypatch, caplog):
    usual = embedded._table()
    assert digits().digests == {"digits.csv": embedded.SHA256}
    assert not caplog.records
    monkeypatch.setattr(embedded, "_table", lambda: usual[::-1])
    assert digits().digests != {"digits.csv": embedded.SHA256}
    assert "digits: scikit-learn's table has SHA-256" in caplog.text


def test_no_image_is_in_two_parts():
    parts = digits().split(validation=100, seed=3)
    seen = [image.tobytes() for part in parts for image in part.images]
    assert len(seen) == len(set(seen)) == 1797


def test_without_the_file_the_library_is_asked(monkeypatch):
    usual = digits()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    again = digits()
    assert again.digests == usual.digests
    np.testing.assert_array_equal(again.train.images, usual.train.images)
