"""Ranges, points, refinement, halving and folds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax231.search.folds import k_fold
from jax231.search.halving import Rung, rungs, survivors
from jax231.search.points import points
from jax231.search.refine import best_of, edges, refine, refine_all
from jax231.search.space import Range, require_range, settings


@pytest.mark.parametrize("range", [Range(1e-5, 1e-1), Range(0.1, 0.5, "linear")])
def test_share_undoes_at(range):
    assert (range.at(0.0), range.at(1.0)) == (range.low, range.high)
    for share in (0.1, 0.5, 0.77):
        assert range.share(range.at(share)) == pytest.approx(share, abs=1e-3)


def test_the_middle_of_a_logarithmic_range_is_the_geometric_mean():
    assert Range(1e-4, 1e-2).at(0.5) == 1e-3
    assert Range(0.2, 0.4, "linear").at(0.5) == 0.3


def test_edges_are_named():
    range = Range(1e-4, 1e0)
    assert [range.edge(x) for x in (1e-4, 1.5e-4, 1e-2, 0.9, 1.0)] == ["low", "low", None, "high", "high"]
    assert Range(0.5, 0.5).edge(0.5) is None
    space = {"rate": range, "l2": Range(1e-6, 1e-2), "dropout": Range(0.0, 0.5, "linear")}
    (warning,) = edges(space, {"rate": 0.95, "l2": 1e-4, "dropout": 0.0})
    assert warning.startswith("the best rate, 0.95, lies on the high edge of 0.0001 .. 1")


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_points_fill_the_cube_and_depend_on_the_seed_alone(method):
    some = points(method, 50, 2, seed=3)
    assert some.shape == (50, 2)
    np.testing.assert_array_equal(some, points(method, 50, 2, seed=3))
    assert not np.array_equal(some, points(method, 50, 2, seed=4))
    assert ((some >= 0) & (some < 1)).all()
    np.testing.assert_allclose(some.mean(0), 0.5, atol=0.15)


def test_sobol_points_leave_smaller_gaps_than_random_ones():
    def largest_gap(method):
        return max(np.diff(np.sort(points(method, 64, 2, seed)[:, 0])).max() for seed in range(3))

    assert largest_gap("sobol") < largest_gap("random") / 2


def test_an_axis_of_a_grid_sees_few_numbers_and_of_random_points_all():
    assert len(np.unique(points("grid", 27, 3, 0)[:, 0])) == 3
    assert len(np.unique(points("random", 27, 3, 0)[:, 0])) == 27
    assert len(points("grid", 26, 3, 0)) == 8
    np.testing.assert_array_equal(points("grid", 1, 2, 0), [[0.5, 0.5]])


def test_settings_at_points():
    space = {"rate": Range(1e-4, 1e-2), "dropout": Range(0.0, 0.5, "linear")}
    found = settings(space, np.array([[0.5, 0.5], [0.0, 1.0]]))
    assert found == [{"rate": 1e-3, "dropout": 0.25}, {"rate": 1e-4, "dropout": 0.5}]
    with pytest.raises(ValueError, match=r"settings: expected points with an axis for each of rate, dropout; got "):
        settings(space, np.zeros((2, 3)))


def test_log_uniform_sampling_gives_each_decade_its_share():
    rates = [s["rate"] for s in settings({"rate": Range(1e-6, 1e0)}, points("random", 3000, 1, 0))]
    decades = np.bincount(np.floor(-np.log10(np.clip(rates, 1e-6, 0.9999))).astype(int), minlength=6)[:6]
    np.testing.assert_allclose(decades / 3000, 1 / 6, atol=0.03)


def test_refine_narrows_around_the_best_and_may_leave_the_range():
    narrow = refine(Range(1e-6, 1e0), 1e-3, shrink=3.0)
    assert narrow == (1e-4, 1e-2, "log")
    assert refine(Range(1e-6, 1e0), 1.0, shrink=3.0).high == 10
    assert refine(Range(0.0, 0.6, "linear"), 0.6) == (0.5, 0.6, "linear")
    assert refine_all({"rate": Range(1e-6, 1e0)}, {"rate": 1e-3}) == {"rate": narrow}
    with pytest.raises(ValueError, match=r"refine: expected shrink of at least 1 and a number of the range; got shr"):
        refine(Range(1e-3, 1e-1), math.nan)


def test_the_best_is_finite_and_the_first_of_equals():
    assert best_of([math.nan, 0.5, 0.7, 0.7, math.inf]) == 2
    assert best_of([math.nan]) is None


def test_rungs_of_the_paper():
    assert rungs(81, 81, eta=3) == ((81, 1), (27, 3), (9, 9), (3, 27), (1, 81))
    assert rungs(9, 4, eta=2) == (Rung(9, 1), Rung(4, 2), Rung(2, 4))
    assert rungs(5, 1) == ((5, 1),)
    assert rungs(1, 10) == ((1, 10),)
    assert [rung.settings * rung.epochs for rung in rungs(243, 243)] == [243] * 6


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 4))
def test_rungs_shrink_in_settings_and_grow_in_epochs(count, epochs, eta):
    found = rungs(count, epochs, eta)
    assert found[0].settings == count
    assert found[-1].epochs == epochs
    assert all(a.settings > b.settings >= 1 and a.epochs < b.epochs for a, b in itertools.pairwise(found))


def test_survivors_are_the_best_in_their_order():
    assert survivors([0.1, 0.9, math.nan, 0.5, 0.9], 3) == (1, 3, 4)
    assert survivors([math.nan, math.nan], 1) == (0,)


def test_folds_are_disjoint_stratified_and_of_one_shape():
    labels = np.repeat(np.arange(3), (20, 10, 13))
    folds = k_fold(labels, 4, seed=1)
    assert folds.train.shape == (4, 33)
    assert folds.validation.shape == (4, 10)
    assert len(np.unique(folds.validation)) == 40
    for train, validation in zip(*folds, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(43))
        np.testing.assert_allclose(np.bincount(labels[validation]), [4.65, 2.3, 3.0], atol=1)
    assert not np.array_equal(folds.validation, k_fold(labels, 4, seed=2).validation)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"tune: expected rate from low to high, both finite and above 0; got low=0.0"):
        require_range("tune", "rate", 0.0, 1.0)
    with pytest.raises(ValueError, match=r"points: expected a method among random, sobol, grid; got method='latin'"):
        points("latin", 3, 1, 0)
    with pytest.raises(ValueError, match=r"k_fold: expected folds within \[2, 6\]; got folds=7"):
        k_fold(np.zeros(6, int), 7, 0)
    with pytest.raises(ValueError, match=r"rungs: expected at least one setting"):
        rungs(0, 5)
