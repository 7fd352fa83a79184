"""The embedded default: 1,797 real handwritten digits of 8x8 pixels, which scikit-learn carries."""

import gzip
import hashlib
import importlib.util
import logging
from pathlib import Path

import numpy as np

from jax231.data.dataset import Dataset, Examples, Source
from jax231.data.splits import hold_out

log = logging.getLogger("jax231")

SOURCE = Source(
    "Optical Recognition of Handwritten Digits (test part), Alpaydin & Kaynak 1998, UCI Machine Learning Repository",
    "CC BY 4.0",
    "https://archive.ics.uci.edu/dataset/80",
)
COUNT, SHAPE = 1797, (8, 8, 1)
SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"  # of the table, 65 bytes a digit
TEST, HELD_OUT, SPLIT_SEED = 300, 300, 0


def digits() -> Dataset:
    """Read the digits that come with scikit-learn: images (n, 8, 8, 1) uint8 from 0 to 16, labels 0 to 9.

    There is no official split of these 1,797: 300 are the test split, stratified by class, chosen by seed 0 (so they
    are the same whatever seed a run uses); `split()` then takes 300 of the other 1,497 for validation.
    """
    table = _table()
    images, labels = table[:, :64].reshape(COUNT, *SHAPE), table[:, 64].astype(np.int32)
    everything = Examples(images, labels)
    train, test = hold_out(labels, TEST, SPLIT_SEED)
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    if digest != SHA256:
        log.warning("digits: scikit-learn's table has SHA-256 %s; results here are with %s", digest, SHA256)
    return Dataset(
        name="digits",
        train=everything.take(train),
        test=everything.take(test),
        classes=tuple("0123456789"),
        source=SOURCE,
        digests={"digits.csv": digest},
        held_out=HELD_OUT,
    )


def _table() -> np.ndarray:
    """64 pixels and the label a row, uint8, from scikit-learn's file: its import alone would take 2 s."""
    package = importlib.util.find_spec("sklearn")
    folders = package.submodule_search_locations if package is not None else None
    file = Path(folders[0], "datasets", "data", "digits.csv.gz") if folders else None
    if file is not None and file.exists():
        with gzip.open(file, "rt") as lines:
            return np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return np.column_stack([pixels, labels]).astype(np.uint8)
