"""Filters side by side."""

import numpy as np
import pytest

from jax231.report.filters import filters, write_filters

KERNEL = np.random.default_rng(0).normal(size=(3, 4, 3, 5))


def test_each_filter_fills_the_range_in_its_place():
    grid = filters(KERNEL, columns=2)
    assert grid.shape == (3 * 4 - 1, 2 * 5 - 1, 3)
    third, own = grid[4:7, :4], KERNEL[..., 2]
    np.testing.assert_allclose(third, (own - own.min()) / np.ptp(own))
    assert (grid[3] == 1).all()
    assert (grid[8:, 5:] == 1).all()


def test_one_channel_is_grey_and_a_constant_filter_no_nan():
    grey = filters(np.concatenate([KERNEL[:, :, :1], np.zeros((3, 4, 1, 1))], -1))
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    assert np.isfinite(grey).all()


def test_pictures_and_what_they_refuse(tmp_path):
    pytest.importorskip("matplotlib")
    assert write_filters(KERNEL, tmp_path / "f.png", title="Filters").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"a kernel \(kh, kw, 1 or 3, cout\)"):
        filters(KERNEL[:, :, :2])
    with pytest.raises(ValueError, match=r"ending in \.png or \.svg"):
        write_filters(KERNEL, tmp_path / "f.gif")
