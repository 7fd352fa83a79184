"""What a loaded data set is: labelled images with their classes, their origin and the digests of their files."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from jax231.data import splits


class Examples(NamedTuple):
    """Images `(n, h, w, c)` as uint8, raw as in the files, and as int32 a label `(n,)` each, or a mask `(n, h, w)`."""

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int32[np.ndarray, "n *pixels"]

    def take(self, indices: np.ndarray) -> "Examples":
        """The examples at `indices`, in that order."""
        return Examples(self.images[indices], self.labels[indices])


class Splits(NamedTuple):
    """Train for fitting, validation for choosing, test for reporting."""

    train: Examples
    validation: Examples
    test: Examples


class Source(NamedTuple):
    """Where a data set comes from and what its holders ask for."""

    title: str
    licence: str
    page: str


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    `train` and `test` are the official split (for sets without one, a split stated in `jax231.data.sources`);
    `held_out` is how many training examples become the validation split unless `split` is told otherwise;
    `digests` maps each file that was read to its SHA-256, for the record of a run.
    """

    name: str
    train: Examples
    test: Examples
    classes: tuple[str, ...]
    source: Source
    digests: dict[str, str]
    held_out: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape `(h, w, c)` of one image."""
        return self.train.images.shape[1:]

    def split(self, validation: int | None = None, seed: int = 0) -> Splits:
        """Take `validation` examples off the training split, stratified by class; the test split is left alone.

        Images with masks, which have no class of their own, are taken by the shuffle alone.

        The training split comes back shuffled. The same arguments give the same examples in the same order on every
        machine.

        Raises:    ValueError if `validation` is negative or more than there are training examples.
        """
        held = self.held_out if validation is None else validation
        labels = self.train.labels
        train, kept = splits.hold_out(labels if labels.ndim == 1 else np.zeros(len(labels), np.int32), held, seed)
        return Splits(self.train.take(train), self.train.take(kept), self.test)
