"""What a confusion matrix says: scores of each class, and which classes are taken for which."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer

from jax231.core.checks import require


class ClassScores(NamedTuple):
    """Of each class: how many examples are of it and how many were predicted, and what share of them is right.

    `recall` is the share of the class's examples that were found, `precision` that of its predictions that are right,
    `iou` the intersection over the union of both. NaN where there is nothing to take a share of.
    """

    examples: Int[np.ndarray, "k"]
    predicted: Int[np.ndarray, "k"]
    recall: Float[np.ndarray, "k"]
    precision: Float[np.ndarray, "k"]
    iou: Float[np.ndarray, "k"]


class Mistake(NamedTuple):
    """Examples of the class `truth` that were taken for another: how many, and what share of the class."""

    truth: int
    predicted: int
    count: int
    share: float


def confusions(truth: Integer[np.ndarray, "..."], predicted: Integer[np.ndarray, "..."], classes: int) -> np.ndarray:
    """How often each true class (row) was predicted as each class (column), on the host.

    Shapes:  integers (...), the same (...), all within [0, classes) -> (classes, classes), int64.
    """
    cells = truth.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def class_scores(matrix: Integer[np.ndarray, "true predicted"]) -> ClassScores:
    """The scores of each class by a confusion matrix, rows the truth.

    Raises: ValueError for a matrix that is not square.
    """
    require(matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1], "class_scores", "a matrix (k, k)", matrix=matrix)
    right, examples, predicted = np.diagonal(matrix), matrix.sum(1), matrix.sum(0)

    def share(whole: np.ndarray) -> np.ndarray:
        return np.where(whole > 0, right / np.maximum(whole, 1), np.nan)

    return ClassScores(examples, predicted, share(examples), share(predicted), share(examples + predicted - right))


def mistakes(matrix: Integer[np.ndarray, "k k"], most: int = 8) -> list[Mistake]:
    """The most frequent mistakes, the most frequent first; of equally frequent ones the first classes."""
    wrong = matrix - np.diag(np.diagonal(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = (divmod(int(cell), len(matrix)) for cell in order)
    return [
        Mistake(row, column, int(wrong[row, column]), float(wrong[row, column] / matrix[row].sum()))
        for row, column in places
        if wrong[row, column] > 0
    ]
