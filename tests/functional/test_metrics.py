import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from jax231.functional.metrics import accuracy, confusion_matrix, mean_iou, perplexity, top_k_accuracy

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(40, 6)).astype(np.float32)
LABELS = RNG.integers(0, 6, 40)
PREDICTIONS = RNG.integers(0, 6, 40)
MASK = RNG.random(40) < 0.6


def hits_by_loop(scores, labels, k):
    """Stable sort by falling score: of equal scores the first is higher."""
    return np.array([label in np.argsort(-row, kind="stable")[:k] for row, label in zip(scores, labels, strict=True)])


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("scores", [SCORES, np.round(SCORES)], ids=["distinct", "ties"])
def test_top_k_accuracy_is_its_definition(scores, k):
    hits = hits_by_loop(scores, LABELS, k)
    actual = jax.jit(top_k_accuracy, static_argnums=2)(scores, LABELS, k)
    np.testing.assert_allclose(actual, hits.mean(), rtol=1e-6)
    weighted = top_k_accuracy(scores, LABELS, k, weight=MASK)
    np.testing.assert_allclose(weighted, hits[MASK].mean(), rtol=1e-6)


def test_accuracy_is_its_definition_and_top_1():
    ties = np.round(SCORES)
    np.testing.assert_allclose(jax.jit(accuracy)(ties, LABELS), hits_by_loop(ties, LABELS, 1).mean(), rtol=1e-6)
    assert accuracy(ties, LABELS) == top_k_accuracy(ties, LABELS, 1)
    np.testing.assert_allclose(
        accuracy(SCORES, LABELS), sklearn_metrics.accuracy_score(LABELS, SCORES.argmax(1)), rtol=1e-6
    )


def test_padding_does_not_count_whatever_stands_in_it():
    scores = jnp.concatenate([SCORES, jnp.full((8, 6), jnp.nan)])
    labels, weight = np.concatenate([LABELS, np.zeros(8, int)]), np.concatenate([np.ones(40), np.zeros(8)])
    np.testing.assert_allclose(accuracy(scores, labels, weight=weight), accuracy(SCORES, LABELS), rtol=1e-6)
    losses = jnp.array([1.0, 2.0, jnp.nan])
    np.testing.assert_allclose(perplexity(losses, weight=jnp.array([1, 1, 0])), np.exp(1.5), rtol=1e-6)


def test_a_sequence_is_scored_token_by_token():
    scores, labels = SCORES.reshape(5, 8, 6), LABELS.reshape(5, 8)
    np.testing.assert_allclose(accuracy(scores, labels), accuracy(SCORES, LABELS), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(accuracy)(scores, labels).mean(), accuracy(SCORES, LABELS), rtol=1e-6)


def test_broken_scores_and_labels_are_misses():
    scores = jnp.array([[jnp.nan, 0.0], [jnp.nan, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    traced = jax.jit(top_k_accuracy, static_argnums=2)(scores, jnp.array([0, 1, 0, -1, 2]), 1)
    np.testing.assert_allclose(traced, 1 / 5, rtol=1e-6)


def test_no_example_has_no_accuracy():
    assert np.isnan(accuracy(SCORES, LABELS, weight=np.zeros(40)))


def test_confusion_matrix_has_true_rows():
    np.testing.assert_array_equal(confusion_matrix(np.array([1, 1]), np.array([0, 0]), 2), [[0, 2], [0, 0]])
    expected = sklearn_metrics.confusion_matrix(LABELS, PREDICTIONS, labels=range(7))
    actual = jax.jit(confusion_matrix, static_argnums=2)(PREDICTIONS, LABELS, 7)
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == np.int32


def test_confusion_matrix_weights():
    masked = confusion_matrix(PREDICTIONS, LABELS, 6, weight=MASK)
    np.testing.assert_array_equal(
        masked, sklearn_metrics.confusion_matrix(LABELS[MASK], PREDICTIONS[MASK], labels=range(6))
    )
    assert masked.dtype == np.int32
    weight = RNG.random(40).astype(np.float32)
    expected = sklearn_metrics.confusion_matrix(LABELS, PREDICTIONS, labels=range(6), sample_weight=weight)
    np.testing.assert_allclose(confusion_matrix(PREDICTIONS, LABELS, 6, weight=weight), expected, rtol=1e-5)


def test_small_integer_types_do_not_overflow():
    high = np.full(3, 200, np.uint8)
    assert confusion_matrix(high, high, 201)[200, 200] == 3


def test_traced_classes_out_of_range_are_not_counted():
    """The 255 that marks unlabelled pixels."""
    predictions, labels = jnp.array([0, 1, 1, -1]), jnp.array([0, 255, 1, 0])
    matrix = jax.jit(confusion_matrix, static_argnums=2)(predictions, labels, 2)
    np.testing.assert_array_equal(matrix, np.eye(2))


def test_mean_iou_is_its_definition():
    """Class 6 is absent from both and left out; class 5 is only predicted and counts with 0."""
    labels, predictions = LABELS.copy(), PREDICTIONS.copy()
    labels[labels == 5] = 0
    expected = sklearn_metrics.jaccard_score(labels, predictions, labels=range(6), average=None, zero_division=0)
    assert expected[5] == 0
    actual = jax.jit(mean_iou, static_argnums=2)(predictions.reshape(4, 10), labels.reshape(4, 10), 7)
    np.testing.assert_allclose(actual, expected.mean(), rtol=1e-6)
    masked = sklearn_metrics.jaccard_score(labels[MASK], predictions[MASK], average="macro", zero_division=0)
    np.testing.assert_allclose(mean_iou(predictions, labels, 7, weight=MASK), masked, rtol=1e-6)


def test_mean_iou_limits():
    assert mean_iou(LABELS, LABELS, 6) == 1
    assert mean_iou(np.array([1, 0]), np.array([0, 1]), 2) == 0


def test_perplexity_of_a_fair_choice_is_its_size():
    np.testing.assert_allclose(perplexity(jnp.full((3, 4), np.log(65))), 65, rtol=1e-5)
    np.testing.assert_allclose(perplexity(np.log(65.0)), 65, rtol=1e-5)


def test_low_precision_is_summed_in_float32():
    losses = jnp.full(1000, 1.0, jnp.bfloat16)
    assert perplexity(losses).dtype == np.float32
    np.testing.assert_allclose(perplexity(losses), np.e, rtol=1e-6)
    assert accuracy(SCORES.astype(jnp.bfloat16), LABELS).dtype == np.float32


@pytest.mark.parametrize("metric", [accuracy, lambda scores, labels: top_k_accuracy(scores, labels, 2)])
def test_labels_that_are_none(metric):
    one_hot = np.eye(6)[LABELS]
    with pytest.raises(
        ValueError, match=r"accuracy: expected one integer label an example.*scores=\(40, 6\), labels=\(40, 6\)"
    ):
        metric(SCORES, one_hot)
    with pytest.raises(ValueError, match="accuracy: expected labels of an integer type"):
        metric(SCORES, LABELS.astype(float))
    with pytest.raises(ValueError, match=r"accuracy: expected labels within \[0, 6\); got smallest=0, largest=6"):
        metric(SCORES, np.where(LABELS == 5, 6, LABELS))
    with pytest.raises(ValueError, match="accuracy: expected scores with an axis of classes"):
        metric(1.0, 0)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"top_k_accuracy: expected k within .*; got k=7, scores=\(40, 6\)"):
        top_k_accuracy(SCORES, LABELS, 7)
    with pytest.raises(
        ValueError, match=r"accuracy: expected arrays of one shape; got values=\(40,\), weight=\(40, 1\)"
    ):
        accuracy(SCORES, LABELS, weight=np.ones((40, 1)))
    with pytest.raises(
        ValueError, match=r"confusion_matrix: expected arrays of one shape; got predictions=\(40,\), labels=\(4, 10\)"
    ):
        confusion_matrix(PREDICTIONS, LABELS.reshape(4, 10), 6)
    with pytest.raises(ValueError, match=r"confusion_matrix: expected predictions within \[0, 5\)"):
        confusion_matrix(PREDICTIONS, np.minimum(LABELS, 4), 5)
    with pytest.raises(ValueError, match="confusion_matrix: expected at least one class; got classes=0"):
        confusion_matrix(PREDICTIONS, LABELS, 0)
    with pytest.raises(ValueError, match="predictions of an integer type"):
        mean_iou(SCORES[:, 0], LABELS, 6)
    with pytest.raises(ValueError, match="perplexity: expected arrays of one shape"):
        perplexity(np.ones(3), weight=np.ones(4))
