"""Masks as pictures: what is written is read again, in colours that differ."""

import numpy as np
import pytest

from jax231.data import masks

PIL = pytest.importorskip("PIL.Image")


def test_indices_are_the_classes(tmp_path):
    mask = np.random.default_rng(0).integers(0, 21, (5, 7))
    masks.write(tmp_path / "mask.png", mask)
    with PIL.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), mask)
        shown = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(shown, masks.palette()[mask])


def test_the_palette_is_that_of_pascal_voc():
    """Aeroplane, bicycle, bird and tv monitor of the benchmark's development kit."""
    colors = masks.palette()
    assert colors[[0, 1, 2, 3, 20]].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 64, 128]]
    assert len({tuple(color) for color in colors.tolist()}) == 256


def test_a_class_that_no_index_can_tell(tmp_path):
    with pytest.raises(ValueError, match=r"masks.write: expected classes within \[0, 256\); got"):
        masks.write(tmp_path / "mask.png", np.array([[0, 256]]))
