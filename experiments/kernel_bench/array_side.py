"""What compares with single cases: faiss and scikit-learn for neighbours, NumPy for the peaks."""

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from kernel_bench import operands
from kernel_bench.cases import Case, Form, Neighbors
from kernel_bench.job import Job

PACKAGES = {"faiss": "faiss-cpu", "sklearn": "scikit-learn", "numpy": "numpy"}


def hello(side: str) -> dict[str, Any]:
    """The version."""
    __import__(side)
    return {"versions": {PACKAGES[side]: metadata.version(PACKAGES[side])}}


def build(side: str, case: Case, form: Form, exchange: Path) -> Job:
    """A case that `side` serves."""
    if isinstance(case.work, Neighbors):
        examples = operands.neighbors(exchange)
        predict = _faiss if side == "faiss" else _sklearn
        return Job(predict(*examples, case.work.k), lambda labels: [labels])
    a, *others = operands.arrays(case)
    if others:
        return Job(lambda: a @ others[0], lambda y: [y])
    out = np.empty_like(a)
    return Job(lambda: np.add(a, 1, out=out), lambda y: [y])


def _faiss(train_x: np.ndarray, train_y: np.ndarray, x: np.ndarray, k: int) -> Any:
    """The flat index, made before: only the search and the votes are timed."""
    import faiss

    index = faiss.IndexFlatL2(train_x.shape[1])
    index.add(train_x)

    def predict() -> np.ndarray:
        _, places = index.search(x, k)
        votes = np.zeros((len(x), 10), np.int32)
        np.add.at(votes, (np.arange(len(x))[:, None], train_y[places]), 1)
        return votes.argmax(1).astype(train_y.dtype)

    return predict


def _sklearn(train_x: np.ndarray, train_y: np.ndarray, x: np.ndarray, k: int) -> Any:
    """Brute force, fitted before."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(k, algorithm="brute").fit(train_x, train_y)
    return lambda: classifier.predict(x)
