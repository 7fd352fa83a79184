"""Deterministic train, validation and test indices, stratified by class: NumPy only, equal on every machine."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Integer

from jax231.core.checks import require


class Indices(NamedTuple):
    """Three disjoint sets of positions that together are all examples."""

    train: Int[np.ndarray, "train"]
    validation: Int[np.ndarray, "validation"]
    test: Int[np.ndarray, "test"]


def shuffled(n: int, seed: int) -> Int[np.ndarray, "n"]:
    """A permutation of `n` positions chosen by `seed`.

    It sorts raw 64-bit words of PCG64, whose stream NumPy keeps for ever; what `Generator.permutation` makes of that
    stream may change between versions of NumPy.
    """
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def quotas(counts: Integer[np.ndarray, "k"], total: int) -> Int[np.ndarray, "k"]:
    """Share `total` among classes of the given sizes: exact sum, each share within one of proportional.

    Rounds down, then the largest remainders get one more, the smaller class index first on a tie.
    """
    whole, remainder = np.divmod(counts.astype(np.int64) * total, max(int(counts.sum()), 1))
    most_cut = np.argsort(-remainder, kind="stable")[: total - int(whole.sum())]
    whole[most_cut] += 1
    return whole


def hold_out(
    labels: Integer[np.ndarray, "..."], held: int, seed: int
) -> tuple[Int[np.ndarray, "rest"], Int[np.ndarray, "held"]]:
    """Take exactly `held` examples off the end of a shuffle, from each class in proportion to its size.

    Shapes:    labels (n,) -> indices (n - held,) of the rest and (held,) of the held-out, both in shuffled order.
    Raises:    ValueError if `labels` has not one axis, or `held` lies outside [0, n].
    """
    require(labels.ndim == 1, "hold_out", "labels with one axis", labels=labels)
    require(0 <= held <= labels.size, "hold_out", f"held within [0, {labels.size}]", held=held)
    order = shuffled(labels.size, seed)
    _, kinds, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    is_held = np.zeros(labels.size, bool)
    for kind, quota in enumerate(quotas(counts, held)):
        members = np.flatnonzero(kinds == kind)
        is_held[members[members.size - quota :]] = True
    return order[~is_held], order[is_held]


def three_way(labels: Integer[np.ndarray, "..."], validation: int, test: int, seed: int) -> Indices:
    """Hold out `test` examples, then `validation` of the rest, each stratified by class.

    Shapes:    labels (n,) -> indices of (n - validation - test), validation and test examples.
    Raises:    ValueError if `labels` has not one axis, or the sizes are negative or more than n together.
    """
    rest, tested = hold_out(labels, test, seed)
    train, validated = hold_out(labels[rest], validation, seed)
    return Indices(rest[train], rest[validated], tested)
