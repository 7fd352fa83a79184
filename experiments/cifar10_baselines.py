"""How far does one get on CIFAR-10 by looking at the nearest pixels? k-nearest neighbours beside the linear recipes.

    python experiments/cifar10_baselines.py

The course's exercise takes 5,000 training and 500 test images and chooses k by five folds; the full set takes all of
them, and k by holding out the last 5,000 training images. Distances are Euclidean, between raw pixels. The rows of the
linear classifiers and the two-layer net are those of `train_recipe.py`. Writes ``cifar10-baselines.json`` beside the
other results and the table between its markers in ``experiments/README.md``, where there are some.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import cyclopts
import jax.numpy as jnp
import msgspec
import numpy as np
from document import replace_between
from jaxtyping import Float, UInt8

from jax231.core.files import write_whole
from jax231.data import sources
from jax231.data.dataset import Dataset, Examples
from jax231.functional.neighbors import knn_predict
from jax231.kernels.neighbors import nearest
from jax231.measure import machine
from jax231.search.folds import k_fold

HERE = Path(__file__).resolve().parent
BEGIN = "<!-- cifar10-baselines:begin, made by `python experiments/cifar10_baselines.py` -->"
END = "<!-- cifar10-baselines:end -->"
KS = (1, 3, 5, 8, 10, 12, 15, 20, 50, 100)
"""The course's choices of k."""

GIVEN = 10
"""What the course's own folds choose."""

FOLDS = 5
RECIPES = {"cifar10-svm": "linear SVM", "cifar10-softmax": "softmax regression", "cifar10-two-layer": "two-layer net"}
COURSE = {"kNN, 5,000 / 500": "about 28 %", "linear SVM": "about 39 %", "two-layer net": "about 52 %"}
"""The figures of the course's notes and exercises."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How much is looked at, and where the results go."""

    exercise: tuple[int, int] = (5_000, 500)
    """Training and test images of the course's exercise."""

    full: bool = True
    """Also ask all training images about all test images."""

    held_out: int = 5_000
    """Training images by which k is chosen for the full set."""

    data_dir: Path | None = None
    """Folder with the official files of the data sets."""

    folder: Path = HERE / "results"
    """Where the results go."""

    document: Path = HERE / "README.md"
    """A document that may have the markers of the table."""


def flat(images: np.ndarray) -> UInt8[np.ndarray, "n d"]:
    """Raw pixels as rows."""
    return images.reshape(len(images), -1)


def shares_right(known: Examples, asked: Examples, classes: int) -> Float[np.ndarray, "ks"]:
    """The share of `asked` that the neighbours in `known` vote for rightly, for each of `KS`, from one search."""
    ks = [k for k in KS if k <= len(known.labels)]
    middle = jnp.full(known.images[0].size, 128.0, jnp.float32)
    found = nearest(jnp.asarray(flat(known.images)), jnp.asarray(flat(asked.images)), middle, k=max(ks), metric="l2")
    labels = known.labels[np.asarray(found)]
    rights = []
    for k in ks:
        votes = np.stack([(labels[:, :k] == label).sum(1) for label in range(classes)], 1)
        rights.append((votes.argmax(1) == asked.labels).mean())
    return np.array(rights)


def chosen_by_folds(train: Examples, classes: int) -> tuple[int, list[float]]:
    """The k with the best mean over the folds, and all means."""
    folds = k_fold(train.labels, FOLDS, seed=0)
    means = np.mean(
        [shares_right(train.take(rest), train.take(held), classes) for rest, held in zip(*folds, strict=True)], 0
    )
    return KS[int(means.argmax())], means.tolist()


def measured(train: Examples, test: Examples, k: int) -> tuple[float, float]:
    """The share of right answers on the test split, and the seconds that it took."""
    begin = time.perf_counter()
    found = knn_predict(flat(train.images), train.labels, flat(test.images), k)
    right = float((np.asarray(found) == test.labels).mean())
    return right, time.perf_counter() - begin


def first(examples: Examples, count: int) -> Examples:
    """The first `count` examples, as the course's exercise takes them."""
    return examples.take(np.arange(min(count, len(examples.labels))))


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Measure the neighbours, and write the table."""
    facts = measure(sources.load("cifar10", config.data_dir), config)
    if config.document.exists() and BEGIN in config.document.read_text():
        replace_between(config.document, BEGIN, END, table(facts, config.folder))
    print(table(facts, config.folder))


def measure(dataset: Dataset, config: Config) -> dict[str, Any]:
    """k-nearest neighbours on the exercise's part and on all images."""
    classes = len(dataset.classes)
    rows = []
    train, test = first(dataset.train, config.exercise[0]), first(dataset.test, config.exercise[1])
    k, means = chosen_by_folds(train, classes)
    rows.append(_row(train, test, k, f"{FOLDS} folds", means))
    if k != GIVEN:
        rows.append(_row(train, test, GIVEN, "the course", means))
    if config.full:
        train, test = dataset.train, dataset.test
        at = len(train.labels) - config.held_out
        rest, held = np.arange(at), np.arange(at, len(train.labels))
        shares = shares_right(train.take(rest), train.take(held), classes)
        rows.append(_row(train, test, KS[int(shares.argmax())], f"{len(held):,} held out", shares.tolist()))
    facts = {"device": machine.device(), "versions": machine.versions(), "ks": KS, "runs": rows}
    config.folder.mkdir(parents=True, exist_ok=True)
    write_whole(config.folder / "cifar10-baselines.json", msgspec.json.format(msgspec.json.encode(facts)))
    return facts


def _row(train: Examples, test: Examples, k: int, chosen: str, shares: list[float]) -> dict[str, Any]:
    right, seconds = measured(train, test, k)
    return {"train": len(train.labels), "test": len(test.labels), "k": k, "chosen_by": chosen,
            "validation": shares, "accuracy": right, "seconds": seconds}  # fmt: skip


def table(facts: dict[str, Any], folder: Path) -> str:
    """The neighbours, and below them what the recipes in `folder` reached."""
    lines = ["| classifier | setting | test accuracy | the course |", "|---|---|---:|---:|"]
    for run in facts["runs"]:
        name = f"kNN, {run['train']:,} / {run['test']:,}"
        lines.append(
            f"| {name} | k = {run['k']}, by {run['chosen_by']} | {100 * run['accuracy']:.1f} % | "
            f"{COURSE.get(name, '')} |"
        )
    for recipe, name in RECIPES.items():
        path = folder / f"recipe-{recipe}.json"
        if path.exists():
            runs = msgspec.json.decode(path.read_bytes())["runs"]
            accuracy = fmean(run["accuracy"] for run in runs)
            setting = f"recipe {recipe}, mean of {len(runs)}" if len(runs) > 1 else f"recipe {recipe}"
            lines.append(f"| {name} | {setting} | {100 * accuracy:.1f} % | {COURSE.get(name, '')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cyclopts.run(main)
