"""The problems of a comparison: a model of the zoo, its regularized loss, and a data set split once and for all.

The table imports no JAX; `build` does.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jax231.core.checks import require
from jax231.core.lookup import by_name
from jax231.core.types import Batch, Model, PyTree
from jax231.data import preprocess
from jax231.models import zoo

if TYPE_CHECKING:
    import jax


class Entry(NamedTuple):
    """A problem: the zoo's model of the same name, and how it is trained.

    `strength` multiplies the sum of squared kernels; `budget` is what a run on the digits may spend, in gradients
    over the training split; `heavy` sweeps each rule and seed in a call of its own, so that the lanes fit into memory.
    """

    name: str
    strength: float
    budget: float
    convex: bool
    heavy: bool = False

    @property
    def title(self) -> str:
        """The model's title."""
        return zoo.entry(self.name).title

    @property
    def formula(self) -> str:
        """The objective in words."""
        return f"mean {zoo.entry(self.name).loss.replace('_', ' ')} + {self.strength:g} sum W^2"


ENTRIES = (
    Entry("softmax", 5e-4, 100, True),
    Entry("svm", 5e-4, 100, True),
    Entry("two_layer", 5e-4, 80, False),
    Entry("two_layer_tanh", 5e-4, 80, False),
    Entry("convnet", 5e-4, 14, False, heavy=True),
)

NAMES = tuple(entry.name for entry in ENTRIES)
PREPROCESS = "per_channel"


def entry(name: str) -> Entry:
    """The entry called `name`.

    Raises: ValueError with the nearest names where there is none.
    """
    return by_name(ENTRIES, name, "problems", "table", "jax231 problems")


class Split(NamedTuple):
    """Preprocessed examples of one data set on the device, with what is worth recording about them."""

    train: Batch
    validation: Batch
    test: Batch
    shape: tuple[int, ...]
    classes: int
    description: str
    digests: dict[str, str]
    stats: preprocess.Stats


class Problem(NamedTuple):
    """An objective of parameters and a batch, with the data and the facts that a fair comparison needs."""

    name: str
    title: str
    source: str
    convex: bool
    heavy: bool
    budget: float
    model: Model
    outputs: Callable[[PyTree, Batch], PyTree]
    outputs_loss: Callable[[PyTree, Batch], "jax.Array"]
    example_losses: Callable[[PyTree, Batch], "jax.Array"]
    split: Split
    formula: str
    expected_start: float
    lower_bound: float

    def objective(self, params: PyTree, batch: Batch) -> "jax.Array":
        """The regularized loss, ``outputs_loss(outputs(params, batch), batch)``."""
        return self.outputs_loss(self.outputs(params, batch), batch)

    @property
    def examples(self) -> int:
        """Size of the training split."""
        return len(self.split.train.targets)


def load(data: str, *, data_dir: Path | None = None, examples: int | None = None) -> Split:
    """Read a data set, split it (seed 0), fit the preprocessing on the training split, and put all on the device.

    `examples` keeps the first so many of the shuffled, stratified training split.
    """
    import jax.numpy as jnp

    from jax231.data import sources

    dataset = sources.load(data, data_dir)
    train, validation, test = dataset.split()
    total = len(train.labels)
    if examples is not None:
        require(examples <= total, "compare", f"at most the {total} training examples of {data}", examples=examples)
        train = train.take(np.arange(examples))
    stats = preprocess.fit(PREPROCESS, train.images)

    def batch(part) -> Batch:
        return Batch(jnp.asarray(preprocess.apply(stats, part.images)), jnp.asarray(part.labels))

    height, width, depth = dataset.shape
    description = (
        f"{dataset.source.title}: {height}x{width}x{depth} images of {len(dataset.classes)} classes; "
        f"shuffled, stratified split of {len(train.labels)} for training, {len(validation.labels)} for validation, "
        f"{len(test.labels)} for the test; mean and deviation of each channel of the training split removed"
    )
    parts = (batch(train), batch(validation), batch(test))
    return Split(*parts, dataset.shape, len(dataset.classes), description, dataset.digests, stats)


def build(name: str, split: Split) -> Problem:
    """The problem `name` on the data `split`.

    The budget of a set larger than the digits is smaller in passes, so that the number of mini-batches stays moderate.
    """
    from jax231.functional.regularizers import l2
    from jax231.functional.regularizers import objective as regularized

    row, model = entry(name), zoo.entry(name)
    functions = model.build(split.shape, split.classes)
    loss = model.loss_function

    def outputs(params: PyTree, batch: Batch) -> PyTree:
        """What the loss is convex in: the scores, and the parameters, for the sake of the penalty."""
        scores, _ = functions.apply(params, {}, batch.inputs, train=True)
        return scores, params

    def outputs_loss(outputs: PyTree, batch: Batch) -> "jax.Array":
        scores, params = outputs
        return regularized(loss(scores, batch.targets), params, row.strength)

    def example_losses(outputs: PyTree, batch: Batch) -> "jax.Array":
        """``outputs_loss`` of each example by itself, with the whole penalty: they have it as their mean."""
        scores, params = outputs
        return loss(scores, batch.targets) + row.strength * l2(params)

    passes = row.budget * min(1.0, (2000 / len(split.train.targets)) ** 0.5)
    return Problem(
        name=name,
        title=row.title,
        source=model.source,
        convex=row.convex,
        heavy=row.heavy,
        budget=float(f"{passes:.2g}"),
        model=functions,
        outputs=outputs,
        outputs_loss=outputs_loss,
        example_losses=example_losses,
        split=split,
        formula=row.formula,
        expected_start=model.expected_start(split.classes),
        lower_bound=0.0,
    )
