import math

import numpy as np
import pytest

from jax231.search.grid import log_grid


def test_a_decade_a_step():
    assert log_grid(1e-4, 1e-1, 4) == (1e-4, 1e-3, 1e-2, 1e-1)


def test_neighbours_have_one_ratio_up_to_three_digits():
    settings = np.array(log_grid(1e-6, 1e0, 7 * 4))
    np.testing.assert_allclose(settings[1:] / settings[:-1], 10 ** (6 / 27), rtol=0.01)
    assert [float(f"{x:.3g}") for x in settings] == list(settings)


def test_one_setting_is_the_geometric_mean():
    assert log_grid(1e-4, 1e-2, 1) == (1e-3,)
    assert log_grid(0.5, 0.5, 1) == (0.5,)


@pytest.mark.parametrize(
    ("low", "high", "count"), [(0.0, 1.0, 3), (-1.0, 1.0, 3), (2.0, 1.0, 3), (1.0, 2.0, 0), (1.0, math.inf, 3),
                               (math.nan, 1.0, 2)]
)  # fmt: skip
def test_ends_in_disorder_are_refused(low, high, count):
    expected = f"log_grid: expected 0 < low <= high, both finite, and count >= 1; got low={low}, high={high}, "
    with pytest.raises(ValueError, match=expected + f"count={count}"):
        log_grid(low, high, count)
