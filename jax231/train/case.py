"""What `jax231 doctor` examines, a model before its first step with some of its data, and what each check returns."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.types import Batch, Key, Model, PyTree
from jax231.core.unoptimized import jit_unoptimized
from jax231.data import preprocess
from jax231.nn.bridge import Constructor, functionalize, rate_kinds
from jax231.train import network as networks
from jax231.train import splits as sets
from jax231.train.config import Config

Verdict = Literal["ok", "warning", "failed", "skipped"]


class Check(NamedTuple):
    """What one check found: a sentence, the numbers behind it, and what to do where it is not "ok"."""

    name: str
    verdict: Verdict
    found: str
    numbers: Mapping[str, Any]
    advice: str = ""


class Case(NamedTuple):
    """A model at its first parameters, with examples.

    `losses(outputs, targets)` and `hits` are (n,), the loss and the share of right answers of each example; `start` is
    the loss of scores that are all alike. `pool` holds the examples, as the model takes them.
    """

    constructor: Constructor
    model: Model
    losses: Callable[[PyTree, PyTree], Float[Array, "n"]]
    hits: Callable[[PyTree, PyTree], Float[Array, "n"]]
    start: float
    params: PyTree
    state: PyTree
    pool: Batch
    key: Key

    @property
    def size(self) -> int:
        """How many examples there are."""
        return len(self.pool.targets)

    def some(self, indices: Any) -> Batch:
        """The examples at `indices`."""
        return jax.tree.map(lambda x: x[indices], self.pool)

    def silenced(self, params: PyTree, state: PyTree, batch: Batch) -> PyTree:
        """The outputs in training mode, with the statistics of the batch but no dropout or other noise."""
        rates = dict.fromkeys(rate_kinds(self.constructor), 0.0)
        return self.model.apply(params, state, batch.inputs, train=True, key=self.key, rates=rates)[0]

    def loss(self, params: PyTree, state: PyTree, batch: Batch) -> Float[Array, ""]:
        """The mean loss without noise."""
        return self.losses(self.silenced(params, state, batch), batch.targets).mean()


def of_model(
    constructor: Constructor,
    losses: Callable[[PyTree, PyTree], Array],
    hits: Callable[[PyTree, PyTree], Array],
    start: float,
    pool: Batch,
    seed: int = 0,
) -> Case:
    """The case of any module that ``constructor(rngs)`` builds."""
    model = functionalize(constructor)
    key_params, key = jax.random.split(jax.random.key(seed))
    params, state = jit_unoptimized(model.init)(key_params)
    return Case(constructor, model, losses, hits, start, params, state, jax.tree.map(jnp.asarray, pool), key)


def of_config(config: Config, examples: int, data_dir: Path | None = None) -> Case:
    """The case of a model of the zoo with the first `examples` of its shuffled training split, preprocessed.

    Raises: ValueError and MissingDataError as `splits.load` and `network.build`.
    """
    splits = sets.load(config, data_dir, stream="auto")
    network = networks.build(config, splits.shape, len(splits.classes))
    if splits.stats is None:
        windows = _windows(splits.train.inputs, config.length, examples)
        pool = Batch((None, windows.inputs), windows.targets)
    else:
        images, labels = splits.train.inputs, splits.train.targets[:examples]
        if splits.streamed:
            images, whole = images.read(range(len(labels)))
            images, labels = images[whole], labels[whole]
        pool = Batch(preprocess.apply(splits.stats, images[:examples]), labels)
    start = network.entry.expected_start(len(splits.classes))
    return of_model(network.constructor, network.losses, network.hits, start, pool, config.seed)


def _windows(codes: Any, length: int, count: int) -> Batch:
    """Windows of a text at even distances over the whole of it, each with the characters that follow."""
    import numpy as np

    starts = np.unique(np.linspace(0, len(codes) - length - 1, count).astype(int))
    starts = starts[np.random.Generator(np.random.PCG64(0)).permutation(len(starts))]
    places = starts[:, None] + np.arange(length)
    return Batch(codes[places].astype(np.int32), codes[places + 1].astype(np.int32))
