"""Ensembles: the mean of what several trained classifiers predict, and what it gains.

Several are runs, the members of a run of several seeds, the snapshots of one run; and Polyak's average stands for the
many parameters that it is the mean of.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from jax231.core.checks import require
from jax231.core.types import Batch
from jax231.data.stream import ImageFiles
from jax231.data.views import Views
from jax231.train import predict as single
from jax231.train.run import Run


class Share(NamedTuple):
    """The share of right answers, and the mean loss: minus the logarithm of the probability of the right class."""

    accuracy: float
    loss: float


class Gain(NamedTuple):
    """How well members do alone and together: `growing` are the ensembles of the first 1, 2, ... of them.

    `plain` are those by their parameters without the average that their runs keep; empty where one keeps none.
    """

    names: tuple[str, ...]
    members: tuple[Share, ...]
    growing: tuple[Share, ...]
    plain: tuple[Share, ...] = ()

    @property
    def mean(self) -> Share:
        """The members' mean."""
        return _mean(self.members)

    @property
    def ensemble(self) -> Share:
        """All together."""
        return self.growing[-1]

    @property
    def plain_mean(self) -> Share | None:
        """The members' mean without their averages."""
        return _mean(self.plain) if self.plain else None


def predict(
    runs: Sequence[Run], images: Num[np.ndarray, "n h w c"] | ImageFiles, views: Views | None = None
) -> Float[np.ndarray, "n k"]:
    """The mean over all members of all runs of the probability of each class for each image.

    Raises: ValueError for no run, runs of different classes or images, and models whose scores are no probabilities.
    Source: CS231n lecture 7, model ensembles.
    """
    return np.mean(_each(runs, images, views), 0)


def gain(runs: Sequence[Run], part: Batch, views: Views | None = None) -> Gain:
    """How well the members of the runs do alone and together on images with labels.

    Raises: as `predict`.
    """
    each, labels = _each(runs, part.inputs, views), np.asarray(part.targets)
    averaged = all(member.plain is not None for run in runs for member in run.members)
    plain = _each(runs, part.inputs, views, plain=True) if averaged else ()
    return gain_of(each, labels, names(runs))._replace(plain=tuple(share(x, labels) for x in plain))


def gain_of(each: Float[np.ndarray, "members n k"], labels: Int[np.ndarray, "n"], names: tuple[str, ...] = ()) -> Gain:
    """How well these probabilities do, member by member and together."""
    sums = np.cumsum(each, 0, dtype=np.float64)
    growing = tuple(share(total / k, labels) for k, total in enumerate(sums, start=1))
    return Gain(names, tuple(share(x, labels) for x in each), growing)


def share(probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> Share:
    """How well these probabilities do."""
    right = np.take_along_axis(probabilities, labels[:, None], 1).astype(np.float64)
    tiny = np.finfo(np.float32).tiny  # the logarithm of a probability that float32 rounds to 0
    return Share(float((probabilities.argmax(-1) == labels).mean()), float(-np.log(np.maximum(right, tiny)).mean()))


def names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Of each member: its run, and which of the run's it is."""
    several = len(runs) > 1
    return tuple(
        ", ".join(filter(None, (str(run.folder) if several or not member.name else "", member.name)))
        for run in runs
        for member in run.members
    )


def _each(
    runs: Sequence[Run], images: Num[np.ndarray, "n h w c"] | ImageFiles, views: Views | None, *, plain: bool = False
) -> Float[np.ndarray, "members n k"]:
    require(len(runs) > 0, "ensemble", "at least one run", runs=len(runs))
    for run in runs:
        same = run.classes == runs[0].classes and run.shape == runs[0].shape
        expected = f"runs of the same classes and images as {runs[0].folder}"
        require(same, "ensemble", expected, run=str(run.folder))
        require(single.probabilistic(run), "ensemble", "models that give probabilities", model=run.entry.name)
    return np.concatenate([single.each(run, images, views, plain=plain) for run in runs])


def _mean(shares: Sequence[Share]) -> Share:
    return Share(*(float(np.mean(column)) for column in zip(*shares, strict=True)))
