import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from jax231.functional.neighbors import distances, knn_predict
from jax231.kernels import neighbors
from tests.derivatives import assert_derivatives, relative_error

METRICS = ["l1", "l2"]
measured = jax.jit(distances, static_argnames="metric")
predicted = jax.jit(knn_predict, static_argnames=("k", "metric"))
SCIPY = {"l1": "cityblock", "l2": "euclidean"}


@pytest.fixture(params=[2**22, 200], ids=["whole", "blocks"])
def temporary(request, monkeypatch):
    """Once in a single tile, once in tiles that fit neither side (compile a new function: jit does not see this)."""
    monkeypatch.setattr(neighbors, "TEMPORARY", request.param)


def examples(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(m, d)).astype(np.float32)


def distances_by_loop(a, b, metric):
    order = {"l1": 1, "l2": 2}[metric]
    return np.array([[np.linalg.norm(np.float64(p) - np.float64(q), order) for q in b] for p in a])


def predict_by_loop(train_x, train_y, x, k, metric):
    """Stable sort for the earlier example, argmax over rising labels for the smaller one."""
    labels, votes = np.unique(train_y), []
    for row in distances_by_loop(x, train_x, metric):
        near = train_y[np.argsort(row, kind="stable")[:k]]
        votes.append(labels[np.argmax([np.sum(near == label) for label in labels])])
    return np.array(votes)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 5, 3), (23, 41, 20)])
@pytest.mark.usefixtures("temporary")
def test_distances_are_their_definition(metric, sizes):
    a, b = examples(*sizes)
    actual = jax.jit(lambda a, b: distances(a, b, metric))(a, b)
    assert relative_error(actual, distances_by_loop(a, b, metric)) <= 1e-6


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1000, 1), (0.5, 1e-3), (0, 1e6)])
def test_distances_do_not_see_the_origin(metric, offset, scale):
    a, b = (np.float32(offset + scale * x) for x in examples(60, 80, 784))
    assert relative_error(measured(a, b, metric), cdist(np.float64(a), np.float64(b), SCIPY[metric])) <= 1e-6


@pytest.mark.usefixtures("temporary")
def test_distances_are_exact_between_small_integers():
    """So that equal distances are equal: images of bytes, the digits from 0 to 16."""
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 17, (30, 64)), rng.integers(0, 17, (40, 64))
    squares = ((a[:, None] - b) ** 2).sum(-1)
    np.testing.assert_array_equal(
        jax.jit(lambda a, b: distances(a, b))(a, b), np.asarray(jnp.sqrt(jnp.asarray(squares, jnp.float32)))
    )


@given(st.integers(0, 2**16), st.sampled_from(METRICS))
def test_a_metric_is_symmetric_and_holds_the_triangle(seed, metric):
    a, b = examples(6, 6, 4, seed)
    d = np.asarray(compiled_distances[metric](np.concatenate([a, b])))
    np.testing.assert_allclose(d, d.T, rtol=1e-5, atol=1e-6)
    assert (d[:, :, None] + d[None] >= d[:, None] * (1 - 1e-5) - 1e-5).all()
    np.testing.assert_array_equal(np.diagonal(d), 0)


compiled_distances = {metric: jax.jit(lambda x, metric=metric: distances(x, x, metric)) for metric in METRICS}


@pytest.mark.parametrize("d", [2, 3072])
def test_equal_points_are_at_distance_zero(d):
    x = np.random.default_rng(2).uniform(size=(300, d)).astype(np.float32)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: jnp.trace(distances(x, x[::-1][::-1]))))(x)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(x))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.usefixtures("x64")
def test_derivatives(metric, monkeypatch):
    monkeypatch.setattr(neighbors, "TEMPORARY", 8)
    a, b = (jnp.asarray(x, jnp.float64) for x in examples(5, 3, 2, seed=5))
    assert jnp.abs(a[:, None] - b).min() > 0.01  # away from the kinks of "l1"
    assert_derivatives(lambda a, b: distances(a, b, metric), a, b)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.usefixtures("temporary")
def test_derivatives_of_every_order_are_zero_at_equal_points(metric):
    a = jnp.asarray(examples(30, 1, 3)[0])

    def diagonal(shift):
        return jnp.trace(distances(a + shift, a, metric))

    zero = jnp.zeros_like(a)
    first, second = jax.jit(lambda v: jax.jvp(jax.grad(diagonal), (zero,), (v,)))(jnp.ones_like(a))
    np.testing.assert_array_equal(first, zero)
    np.testing.assert_array_equal(second, zero)
    assert np.isfinite(jax.jit(jax.grad(lambda a: distances(a, a, metric).sum()))(a)).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.usefixtures("temporary")
def test_distances_map_over_further_axes(metric):
    a, b = (np.stack(x) for x in zip(examples(4, 19, 3, 1), examples(4, 19, 3, 2), strict=True))
    together = jax.jit(jax.vmap(lambda a, b: distances(a, b, metric)))(a, b)
    for i in range(2):
        assert relative_error(together[i], distances_by_loop(a[i], b[i], metric)) <= 1e-6


@pytest.mark.parametrize("metric", METRICS)
def test_dtypes(metric):
    a, b = examples(5, 4, 100)
    low = measured(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), metric)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(low), distances(a, b, metric), rtol=0.02)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 100)).astype(np.uint8)
    assert jax.eval_shape(lambda x: distances(x, x, metric), pixels).dtype == np.float32
    with jax.enable_x64(True):
        exact = measured(np.float64(a), np.float64(b), metric)
        assert exact.dtype == np.float64
        assert relative_error(exact, cdist(np.float64(a), np.float64(b), SCIPY[metric])) <= 1e-14


@pytest.mark.parametrize("metric", METRICS)
def test_a_broken_example_stays_alone(metric):
    a, b = examples(5, 4, 3)
    a[2, 1] = np.nan
    d = np.asarray(measured(a, b, metric))
    assert np.isnan(d[2]).all()
    whole = [0, 1, 3, 4]
    assert relative_error(d[whole], distances_by_loop(a[whole], b, metric)) <= 1e-6


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_has_no_distances(metric):
    assert measured(np.ones((0, 3)), np.ones((4, 3)), metric).shape == (0, 4)
    assert measured(np.ones((4, 3)), np.ones((0, 3)), metric).shape == (4, 0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 6])
@pytest.mark.usefixtures("temporary")
def test_predictions_are_their_definition_ties_included(metric, k):
    """Points on a small grid: most distances and many votes are tied."""
    rng = np.random.default_rng(3)
    train_x, train_y, x = rng.integers(0, 4, (61, 2)), rng.integers(-3, 4, 61), rng.integers(0, 4, (43, 2))
    predict = jax.jit(lambda *args: knn_predict(*args, k, metric))
    np.testing.assert_array_equal(predict(train_x, train_y, x), predict_by_loop(train_x, train_y, x, k, metric))


def test_the_smaller_label_and_the_earlier_example_win():
    train_x = np.array([[1.0], [-1.0], [3.0], [-3.0]])
    assert predicted(train_x, np.array([7, 2, 7, 2]), np.array([[0.0]]), 1) == 7
    assert predicted(train_x, np.array([7, 2, 7, 2]), np.array([[0.0]]), 4) == 2


@pytest.mark.filterwarnings("ignore:Could not find the number of physical cores")  # joblib, without lscpu
@pytest.mark.parametrize("metric", METRICS)
def test_digits_as_scikit_learn(metric):
    digits = load_digits()
    train_x, train_y, x, y = digits.data[:1200], digits.target[:1200], digits.data[1200:], digits.target[1200:]
    for k in (1, 5):
        reference = KNeighborsClassifier(k, metric=SCIPY[metric], algorithm="brute").fit(train_x, train_y).predict(x)
        actual = np.asarray(knn_predict(train_x.astype(np.float32), train_y, x.astype(np.float32), k, metric))
        assert np.mean(actual == reference) > 0.995  # the two differ where distances at rank k are tied
        assert np.mean(actual == y) > 0.94


@pytest.mark.usefixtures("x64")
def test_predictions_in_float64():
    a, b = (np.float64(x) for x in examples(50, 20, 3))
    y = np.arange(50, dtype=np.int64) % 3
    np.testing.assert_array_equal(predicted(a, y, b, 5), predict_by_loop(a, y, b, 5, "l2"))


@pytest.mark.usefixtures("temporary")
def test_labels_keep_their_type_and_broken_examples_are_nobodys_neighbours():
    a, b = examples(50, 20, 3)
    y = (np.arange(50) % 5).astype(np.uint8)
    good = np.arange(50) % 7 != 0
    broken = np.where(good[:, None], a, np.nan)
    actual = jax.jit(lambda *args: knn_predict(*args, 3))(broken, y, b)
    assert actual.dtype == np.uint8
    np.testing.assert_array_equal(actual, predict_by_loop(a[good], y[good], b, 3, "l2"))


@pytest.mark.parametrize("metric", METRICS)
def test_memory_is_bounded_at_full_size(metric):
    """Compiled, not run: 50,000 x 10,000 CIFAR images. A temporary of one row of differences would take 123 MB."""
    train, test = (jax.ShapeDtypeStruct((n, 3072), jnp.float32) for n in (50_000, 10_000))
    labels = jax.ShapeDtypeStruct((50_000,), jnp.int32)
    matrix = jax.jit(lambda a, b: distances(a, b, metric)).lower(test, train).compile().memory_analysis()
    assert matrix.output_size_in_bytes == 4 * 50_000 * 10_000
    assert matrix.temp_size_in_bytes < 1e8
    predict = jax.jit(lambda *args: knn_predict(*args, 5, metric)).lower(train, labels, test).compile()
    assert predict.memory_analysis().temp_size_in_bytes < 2e8


@pytest.mark.parametrize("metric", METRICS)
def test_the_gradient_keeps_no_differences(metric):
    """Of 2,000 x 2,000 distances over 500 features it would keep 8 GB of signs."""
    a = jax.ShapeDtypeStruct((2000, 500), jnp.float32)
    gradient = jax.jit(jax.grad(lambda a, b: distances(a, b, metric).sum(), argnums=(0, 1))).lower(a, a).compile()
    assert gradient.memory_analysis().temp_size_in_bytes < 2.5e8


def test_errors_of_distances():
    with pytest.raises(
        ValueError, match=r"distances: expected examples with the same number of features; got a=\(2, 3\), b=\(2, 4\)"
    ):
        distances(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"distances: expected b with 2 axes \(n d\); got b=\(3,\)"):
        distances(np.ones((2, 3)), np.ones(3))
    with pytest.raises(ValueError, match="distances: expected a metric among l1, l2; got metric='cosine'"):
        distances(np.ones((2, 3)), np.ones((2, 3)), "cosine")


def test_errors_of_predictions():
    x, y = np.ones((4, 3)), np.zeros(4, int)
    with pytest.raises(ValueError, match=r"knn_predict: expected k within .*; got k=5, train_x=\(4, 3\)"):
        knn_predict(x, y, x, 5)
    with pytest.raises(ValueError, match="k=0"):
        knn_predict(x, y, x, 0)
    with pytest.raises(ValueError, match=r"same number of features; got train_x=.*, x="):
        knn_predict(x, y, np.ones((4, 2)), 1)
    for labels in (np.zeros(4), np.eye(4, dtype=int), np.zeros(3, int)):
        with pytest.raises(ValueError, match="knn_predict: expected one label of an integer type a training example"):
            knn_predict(x, labels, x, 1)
    with pytest.raises(ValueError, match="knn_predict: expected a metric among l1, l2; got metric='l3'"):
        knn_predict(x, y, x, 1, "l3")
