"""Both editions of CIFAR-10 and CIFAR-100, from files that the test writes."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from jax231.data import cifar
from jax231.data.errors import DataError

PATH = Path("somewhere/data_batch_1")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 32, 32, 3), np.uint8)
PLANES = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)).reshape(4, 3072)
LABELS = [3, 0, 9, 3]


def python_file(protocol=2, **changes):
    batch = {b"batch_label": b"one", b"labels": LABELS, b"data": PLANES, b"filenames": [b"a.png"] * 4}
    return pickle.dumps({**batch, **{key.encode(): value for key, value in changes.items()}}, protocol)


def binary_file(label_columns):
    return np.column_stack([np.array(label_columns, np.uint8).T, PLANES]).tobytes()


@pytest.mark.parametrize("protocol", [2, 4])
def test_python_edition(protocol):
    batch = cifar.python_batch(PATH, python_file(protocol), 4, 10)
    np.testing.assert_array_equal(batch.images, IMAGES)
    np.testing.assert_array_equal(batch.labels, LABELS)
    assert batch.labels.dtype == np.int32


def test_python_edition_of_cifar_100_reads_the_fine_labels():
    content = python_file(fine_labels=[99, 1, 2, 3], coarse_labels=[1, 1, 1, 1])
    np.testing.assert_array_equal(cifar.python_batch(PATH, content, 4, 100, b"fine_labels").labels, [99, 1, 2, 3])


def test_binary_editions():
    ten = cifar.binary_batch(PATH, binary_file([LABELS]), 4, 10)
    np.testing.assert_array_equal(ten.images, IMAGES)
    np.testing.assert_array_equal(ten.labels, LABELS)
    hundred = cifar.binary_batch(PATH, binary_file([[1, 1, 1, 1], [99, 1, 2, 3]]), 4, 100, label_bytes=2)
    np.testing.assert_array_equal(hundred.images, IMAGES)
    np.testing.assert_array_equal(hundred.labels, [99, 1, 2, 3])


def test_names_of_classes():
    content = pickle.dumps({b"label_names": [b"cat", b"dog"], b"num_vis": 3072}, 2)
    assert cifar.python_names(PATH, content, 2) == ("cat", "dog")
    assert cifar.binary_names(PATH, b"cat\ndog\n\n", 2) == ("cat", "dog")
    with pytest.raises(DataError, match="a list of 3 names"):
        cifar.python_names(PATH, content, 3)
    with pytest.raises(DataError, match="3 class names, one a line; found 2 names"):
        cifar.binary_names(PATH, b"cat\ndog\n\n", 3)
    with pytest.raises(DataError, match="2 class names, one a line; found 0 names"):
        cifar.binary_names(PATH, b"\xff\xd8", 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (python_file()[:-100], "expected a whole pickle"),
        (pickle.dumps([1, 2], 2), "a pickled dict; found list"),
        (pickle.dumps({b"data": PLANES}, 2), r"the keys \[b'data', b'labels'\]; found \[b'data'\]"),
        (python_file(data=PLANES[:3]), r"data of shape \(4, 3072\) and type uint8; found \(3, 3072\), uint8"),
        (python_file(data=PLANES.astype(np.int16)), r"type uint8; found \(4, 3072\), int16"),
        (python_file(data=[1]), r"type uint8; found list"),
        (python_file(labels=PLANES), "a list of 4 labels; found ndarray"),
        (python_file(labels=[1, 2, 3]), "expected 4 labels; found 3"),
        (python_file(labels=[1, 2, 3, 10]), r"labels within \[0, 10\); found 1 others, .* \[\(3, 10\)\]"),
        (python_file(labels=[1, -2, 3, "x"]), r"labels within \[0, 10\); found 2 others, .* \[\(1, -2\)\]"),
    ],
)
def test_python_batches_that_lie(content, message):
    with pytest.raises(DataError, match=message) as caught:
        cifar.python_batch(PATH, content, 4, 10)
    assert caught.value.path == PATH


def test_binary_files_that_lie():
    whole = binary_file([LABELS])
    with pytest.raises(DataError, match=r"expected 12292 bytes \(4 records of 3073\); found 12291 bytes"):
        cifar.binary_batch(PATH, whole[:-1], 4, 10)
    with pytest.raises(DataError, match=r"found 9219 bytes \(3 records\)"):
        cifar.binary_batch(PATH, whole[:-3073], 4, 10)
    with pytest.raises(DataError, match=r"labels within \[0, 9\); found 1 others, .* \[\(2, 9\)\]"):
        cifar.binary_batch(PATH, whole, 4, 9)
