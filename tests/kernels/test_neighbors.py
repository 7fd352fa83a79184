"""The kernel against the sorted distances and against its plain form: whatever the mode, both are run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax231.kernels import neighbors
from jax231.kernels.neighbors import FEWEST, MOST, nearest

METRICS = ["l1", "l2"]
DTYPES = [np.float32, np.float64, np.uint8]


def pixels(seed: int, *shape: int, dtype=np.float32) -> np.ndarray:
    """Small integers, whose distances are exact and often tied."""
    return np.random.default_rng(seed).integers(0, 6, shape).astype(dtype)


def by_sorting(train, queries, k, metric) -> np.ndarray:
    """The first k places of a stable sort of all distances."""
    off = queries[:, None].astype(np.float64) - train
    distance = np.abs(off).sum(-1) if metric == "l1" else np.square(off).sum(-1)
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


def both(k: int, metric: str):
    """The public function and its plain form, in one compiled program."""

    def forms(train, queries):
        wide = jnp.promote_types(train.dtype, jnp.float32)
        middle = jnp.full(train.shape[-1], 2.0 if metric == "l2" else 0.0, wide)
        return (
            nearest(train, queries, middle, k=k, metric=metric),
            neighbors._nearest(train, queries, middle, k=k, metric=metric),
        )

    return jax.jit(forms)


@settings(max_examples=12)
@given(
    n=st.integers(1, 70),
    q=st.integers(1, 40),
    d=st.integers(1, 20),
    k=st.integers(1, 12),
    metric=st.sampled_from(METRICS),
    dtype=st.sampled_from(DTYPES),
    temporary=st.sampled_from([2**22, 300]),
)
def test_places_are_those_of_a_stable_sort(n, q, d, k, metric, dtype, temporary):
    train, queries, k = pixels(0, n, d, dtype=dtype), pixels(1, q, d, dtype=dtype), min(k, n)
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "TEMPORARY", temporary)  # slabs of few examples
        compiled, plain = both(k, metric)(train, queries)
    desired = by_sorting(train, queries, k, metric)
    np.testing.assert_array_equal(compiled, desired)
    np.testing.assert_array_equal(plain, desired)


@pytest.mark.parametrize("metric", METRICS)
def test_real_numbers_give_the_same_neighbours_in_both_forms(metric):
    rng = np.random.default_rng(0)
    train, queries = (rng.normal(size=(n, 300)).astype(np.float32) for n in (500, 60))
    compiled, plain = both(10, metric)(train, queries)
    np.testing.assert_array_equal(compiled, by_sorting(train, queries, 10, metric))
    np.testing.assert_array_equal(compiled, plain)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 1)])
def test_lanes(axes, metric):
    def stacked(seed, n, axis):
        return np.moveaxis(pixels(seed, 3, n, 5), 0, axis) if axis is not None else pixels(seed, n, 5)

    train, queries = stacked(0, 40, axes[0]), stacked(1, 20, axes[1])
    forms = jax.jit(jax.vmap(both(4, metric), in_axes=axes))(train, queries)
    for lane in range(3):
        own = [x if axis is None else np.take(x, lane, axis) for x, axis in zip((train, queries), axes, strict=True)]
        for places in forms:
            np.testing.assert_array_equal(places[lane], by_sorting(*own, 4, metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("queries", [1, FEWEST, 30])
def test_nobody_is_the_neighbour_at_an_infinite_or_unknown_distance(metric, queries):
    train = pixels(0, 50, 4)
    train[::3, 1], train[1::3, 2] = np.nan, np.inf
    good = np.arange(2, 50, 3)
    compiled, plain = both(20, metric)(train, pixels(1, queries, 4))
    desired = good[by_sorting(train[good], pixels(1, queries, 4), len(good), metric)]
    for places in (compiled, plain):
        np.testing.assert_array_equal(places[:, : len(good)], desired)
        np.testing.assert_array_equal(places[:, len(good) :], 0)


def test_distances_whose_squares_are_infinite_are_not_zero():
    train = np.array([[1e25, -1e25], [1.0, 2.0]], np.float32)
    compiled, plain = both(1, "l2")(train, np.ones((FEWEST, 2), np.float32))
    np.testing.assert_array_equal(compiled, np.ones((FEWEST, 1)))
    np.testing.assert_array_equal(plain, compiled)


def test_many_neighbours():
    train, queries = pixels(0, MOST + 300, 3), pixels(1, FEWEST, 3)
    for k in (MOST, MOST + 1):
        for places in both(k, "l2")(train, queries):
            np.testing.assert_array_equal(places, by_sorting(train, queries, k, "l2"))


def test_inside_loops_and_derivatives():
    train, queries = jnp.asarray(pixels(0, 30, 4)), jnp.asarray(pixels(1, 10, 4))
    of = functools.partial(nearest, k=3, metric="l2")

    def far(train, queries):
        """The sum of the squared distances to the neighbours, which themselves do not move."""
        near = train[of(train, queries, jnp.zeros(4))]
        return jnp.square(queries[:, None] - near).sum()

    def body(total, shift):
        return total + far(train, queries + shift), jax.grad(far, argnums=1)(train, queries + shift)

    total, slopes = jax.jit(lambda: jax.lax.scan(body, 0.0, jnp.array([0.0, 0.25])))()
    desired = 0.0
    for shift, slope in zip([0.0, 0.25], slopes, strict=True):
        moved = np.asarray(queries) + shift
        near = np.asarray(train)[by_sorting(train, moved, 3, "l2")]
        np.testing.assert_allclose(slope, 2 * (moved[:, None] - near).sum(1), rtol=1e-6)
        desired += np.square(moved[:, None] - near).sum()
    np.testing.assert_allclose(total, desired, rtol=1e-6)
