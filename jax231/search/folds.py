"""k-fold cross-validation: splits of equal shapes, so that all folds train as lanes of one program."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Integer

from jax231.core.checks import require


class Folds(NamedTuple):
    """Positions of examples, a row a fold."""

    train: Int[np.ndarray, "folds rest"]
    validation: Int[np.ndarray, "folds held"]


def k_fold(labels: Integer[np.ndarray, "..."], folds: int, seed: int) -> Folds:
    """Split examples `folds` times, stratified by class: each fold validates n // folds examples, no two the same one.

    The n mod folds examples left over are in every training part, so that all parts have the same size.

    Shapes:  labels (n,) -> train (folds, n - n // folds), validation (folds, n // folds).
    Raises:  ValueError unless `labels` has one axis and 2 <= folds <= n.
    """
    require(labels.ndim == 1, "k_fold", "labels with one axis", labels=labels)
    require(2 <= folds <= len(labels), "k_fold", f"folds within [2, {len(labels)}]", folds=folds)
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    by_class = order[np.argsort(labels[order], kind="stable")]
    held = len(labels) // folds
    validation = np.stack([np.sort(by_class[fold::folds][:held]) for fold in range(folds)])
    train = np.stack([np.setdiff1d(np.arange(len(labels)), part) for part in validation])
    return Folds(train, validation)
