"""The model that keeps its training set: on real digits, at ties, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.data import sources
from jax231.models.neighbors import fit, neighbors
from jax231.nn.bridge import functionalize

SQUARE = np.array([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0], [9.0, 9.0]], np.float32)


def predicted(images, labels, queries, classes, dtype=None, **options):
    """The outputs at the queries."""
    constructor = neighbors(images.shape[1:], classes, examples=len(images), **options)
    model = functionalize(constructor, dtype=dtype)
    apply = jax.jit(lambda *arrays: model.apply(*arrays, train=False))
    outputs, state = apply(*fit(images, labels), jnp.asarray(queries))
    np.testing.assert_array_equal(state["labels"], labels)
    np.testing.assert_array_equal(outputs.sum(1), 1)
    return outputs


@pytest.mark.parametrize(("k", "metric"), [(1, "l2"), (5, "l2"), (3, "l1")])
def test_digits_are_classified_as_by_scikit_learn(k, metric):
    peer = pytest.importorskip("sklearn.neighbors")
    train, test = sources.load("digits").train.take(np.arange(400)), sources.load("digits").test
    images, queries = (part.images.astype(np.float32) for part in (train, test))
    found = predicted(images, train.labels, queries, 10, k=k, metric=metric)
    assert (found.shape, found.dtype) == ((300, 10), jnp.float32)
    classifier = peer.KNeighborsClassifier(k, algorithm="brute", p={"l1": 1, "l2": 2}[metric])
    expected = classifier.fit(images.reshape(400, 64), train.labels).predict(queries.reshape(300, 64))
    agree = found.argmax(1) == expected
    assert agree.mean() >= 0.99, "they differ at equal distances only"
    assert (found.argmax(1) == test.labels).mean() > 0.9


def test_ties_go_to_the_smaller_label_and_the_earlier_example():
    labels = np.array([2, 0, 1, 1, 2])
    middle_and_edge = np.float32([[1, 1], [0, 1]])
    votes = {k: predicted(SQUARE, labels, middle_and_edge, 3, k=k).argmax(1).tolist() for k in (1, 2, 4)}
    assert votes[1] == [2, 2], "the first of those at equal distance"
    assert votes[2] == [0, 0], "one vote each"
    assert votes[4] == [1, 1], "two votes"


def test_it_computes_in_a_narrow_type():
    labels = np.arange(5)
    found = predicted(SQUARE + 1.001, labels, SQUARE + 1.001, 5, k=1, dtype=jnp.bfloat16)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.eye(5))


def test_there_is_nothing_to_learn_and_state_stays():
    model = functionalize(neighbors((2, 2, 1), 3, examples=6))
    params, state = model.init(jax.random.key(0))
    assert (params, jax.tree.map(jnp.shape, state)) == ({}, {"images": (6, 4), "labels": (6,)})
    outputs, after = jax.jit(lambda s, x: model.apply({}, s, x, train=True))(state, jnp.ones((2, 2, 2, 1)))
    np.testing.assert_array_equal(outputs, [[1, 0, 0]] * 2)
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"neighbors: expected a metric among l1, l2; got metric='cosine'"):
        neighbors((4,), 3, examples=4, k=1, metric="cosine")
    for k in (0, 5):
        with pytest.raises(ValueError, match=rf"neighbors: expected k within \[1, examples\]; got k={k}, examples=4"):
            neighbors((4,), 3, examples=4, k=k)
    for labels in (np.arange(4), np.eye(5), np.arange(5.0)):
        with pytest.raises(ValueError, match=r"neighbors\.fit: expected one label of an integer type an image; got"):
            fit(SQUARE, labels)


def test_examples_of_another_kind_are_refused():
    params, state = fit(SQUARE, np.arange(5))
    x = jnp.asarray(SQUARE)
    with pytest.raises(ValueError, match=r"Neighbors: expected labels within \[0, 4\); got smallest=0, largest=4"):
        functionalize(neighbors((2,), 4, examples=5)).apply(params, state, x, train=False)
    with pytest.raises(ValueError, match=r"the state of this model; got of another shape: images \(5, 2\) instead of"):
        functionalize(neighbors((2,), 5, examples=6)).apply(params, state, x, train=False)
    with pytest.raises(ValueError, match="knn_predict: expected examples with the same number of features"):
        functionalize(neighbors((2,), 5, examples=5)).apply(params, state, jnp.ones((1, 3)), train=False)
