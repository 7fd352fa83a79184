"""The overlap by class, and the picture of two networks that know nothing yet."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
import nuclei_predictions

from jax231.functional.metrics import mean_iou


def test_overlap_of_each_class():
    truth = np.array([[0, 0, 1], [1, 2, 2]])
    found = np.array([[0, 1, 1], [1, 0, 2]])
    overlaps = nuclei_predictions.overlaps(found, truth, 4)
    np.testing.assert_allclose(overlaps, [1 / 3, 2 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(np.nanmean(overlaps), mean_iou(found, truth, 4), rtol=1e-6)


def test_the_picture(tmp_path):
    random = np.random.default_rng(0)
    images, masks = random.integers(0, 256, (3, 8, 8, 3), np.uint8), random.integers(0, 3, (3, 8, 8))
    facts = [{"what": what, "mean_iou": 0.5} for what in ("one", "other")]
    path = tmp_path / "picture.png"
    nuclei_predictions.draw(images, [masks] * 3, facts, np.array([2, 0]), ("a", "b", "c"), path)
    assert path.read_bytes().startswith(b"\x89PNG")
