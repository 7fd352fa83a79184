"""Ensembles: the mean of what several trained classifiers predict."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num

from jax231.core.checks import require
from jax231.core.types import Batch
from jax231.data.stream import ImageFiles
from jax231.train import predict as single
from jax231.train.run import Run


class Gain(NamedTuple):
    """Shares of right answers: of each member alone, and of the mean of their probabilities."""

    members: tuple[float, ...]
    ensemble: float

    @property
    def mean(self) -> float:
        """The members' mean."""
        return float(np.mean(self.members))


def predict(runs: Sequence[Run], images: Num[np.ndarray, "n h w c"] | ImageFiles) -> Float[np.ndarray, "n k"]:
    """The mean over runs of the probability of each class for each image.

    Raises: ValueError for no run, runs of different classes or images, and models whose scores are no probabilities.
    Source: CS231n lecture 7, model ensembles.
    """
    return np.mean(_each(runs, images), 0)


def gain(runs: Sequence[Run], part: Batch) -> Gain:
    """How well the runs do alone and together on images with labels.

    Raises: as `predict`.
    """
    each = _each(runs, part.inputs)

    def share(probabilities: np.ndarray) -> float:
        return float((probabilities.argmax(-1) == part.targets).mean())

    return Gain(tuple(map(share, each)), share(np.mean(each, 0)))


def _each(runs: Sequence[Run], images: Num[np.ndarray, "n h w c"] | ImageFiles) -> list[np.ndarray]:
    require(len(runs) > 0, "ensemble", "at least one run", runs=len(runs))
    for run in runs:
        same = run.classes == runs[0].classes and run.shape == runs[0].shape
        expected = f"runs of the same classes and images as {runs[0].folder}"
        require(same, "ensemble", expected, run=str(run.folder))
        require(single.probabilistic(run), "ensemble", "models that give probabilities", model=run.entry.name)
    return [single.predict(run, images) for run in runs]
