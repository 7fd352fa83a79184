"""What a confusion matrix says, counted one by one."""

import math

import numpy as np
import pytest

from jax231.measure.confusion import class_scores, confusions, mistakes
from jax231.measure.inspection import Judged

RANDOM = np.random.default_rng(0)
TRUTH, SEEN = RANDOM.integers(0, 4, (6, 5)), RANDOM.integers(0, 3, (6, 5))


def test_every_pair_is_counted_in_its_cell():
    matrix = confusions(TRUTH, SEEN, 5)
    for row in range(5):
        for column in range(5):
            pairs = zip(TRUTH.flat, SEEN.flat, strict=True)
            assert matrix[row, column] == sum((t, s) == (row, column) for t, s in pairs)


def test_scores_of_a_class_are_shares_of_its_sets():
    """By the sets of places themselves; class 3 is never predicted, class 4 not there at all."""
    scores = class_scores(confusions(TRUTH, SEEN, 5))
    for k in range(5):
        true, seen = ({i for i, x in enumerate(labels.flat) if x == k} for labels in (TRUTH, SEEN))
        assert (scores.examples[k], scores.predicted[k]) == (len(true), len(seen))
        for share, part, whole in (
            (scores.recall[k], true & seen, true),
            (scores.precision[k], true & seen, seen),
            (scores.iou[k], true & seen, true | seen),
        ):
            assert share == pytest.approx(len(part) / len(whole) if whole else math.nan, nan_ok=True)
    judged = Judged("test", "pixels", 1, 0.0, 0.0, confusions(TRUTH, SEEN, 5))
    assert judged.mean_iou == pytest.approx(scores.iou[:4].mean())


def test_mistakes_come_in_order_and_only_where_there_are_some():
    matrix = np.array([[5, 0, 2], [3, 9, 0], [0, 2, 7]])
    found = [(one.truth, one.predicted, one.count) for one in mistakes(matrix)]
    assert found == [(1, 0, 3), (0, 2, 2), (2, 1, 2)]
    assert mistakes(matrix, 1)[0].share == pytest.approx(3 / 12)
    assert mistakes(np.diag([1, 0])) == []
    with pytest.raises(ValueError, match=r"class_scores: expected a matrix \(k, k\)"):
        class_scores(matrix[:2])
