"""A whole training script: a ResNet on CIFAR-10, from the data to the checkpoint, in plain Optax.

    python experiments/train_cifar.py                           # ResNet-14, about 20 minutes on two cores
    python experiments/train_cifar.py --depth 20 --epochs 60    # where there is a GPU

`jax231 train --recipe cifar10-resnet14` is the same training in one line, with metrics, signals and several devices;
this script is for those who want to change what happens within. Data are found under ``--data-dir`` or ``JAX231_DATA``;
where CIFAR-10 is not there it trains on the embedded digits. Started again it goes on from its last epoch.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import cyclopts
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax231.core.types import Model, PyTree
from jax231.data import augment, batches, preprocess, sources
from jax231.data.dataset import Dataset
from jax231.data.errors import MissingDataError
from jax231.functional import accuracy, softmax_cross_entropy
from jax231.models import zoo
from jax231.train.checkpoint import Checkpoints
from jax231.train.feed import preprocessed


@dataclass(frozen=True, kw_only=True)
class Config:
    """The choices of a run."""

    depth: int = 14
    """Layers with weights, 6 n + 2."""

    width: int = 16
    """Channels of the first stage."""

    epochs: int = 15
    """Passes over the training split."""

    batch: int = 128
    """Images a step."""

    rate: float = 0.2
    """The highest step size, of one cycle."""

    momentum: float = 0.9
    """Nesterov's."""

    decay: float = 5e-4
    """Weight decay, on kernels only."""

    augment: tuple[str, ...] = ("flip", "pad_crop")
    """Augmentations, by their names in `jax231.data.augment`."""

    examples: int | None = None
    """Use only so many training images (None: all)."""

    seed: int = 0
    """Seed of the first parameters, of the order of images and of augmentation."""

    data_dir: Path | None = None
    """Folder with the official files of CIFAR-10."""

    folder: Path = Path("runs/train_cifar")
    """Where the checkpoints go."""


class State(NamedTuple):
    """What a step changes, and a checkpoint holds."""

    step: jax.Array
    params: PyTree
    statistics: PyTree
    opt: PyTree


class Result(NamedTuple):
    """What was reached."""

    state: State
    losses: np.ndarray
    accuracy: float


def main(config: Annotated[Config, cyclopts.Parameter(name="*", consume_multiple=True)] = Config()) -> Result:
    """Train, and tell how many images of the test split are recognised."""
    data = load(config.data_dir)
    train, test = data.split(validation=0).train, data.test
    x, y = jnp.asarray(train.images[: config.examples]), jnp.asarray(train.labels[: config.examples])
    prepare = preprocessed(preprocess.fit("per_channel", np.asarray(x)))
    model = zoo.entry("resnet20").build(data.shape, len(data.classes), depth=config.depth, width=config.width)
    steps = batches.epoch_steps(len(x), config.batch)
    tx = optimizer(config, steps)

    @jax.jit
    def begin() -> State:
        params, statistics = model.init(jax.random.key(config.seed))
        return State(jnp.int32(0), params, statistics, tx.init(params))

    change = augment.pipeline(config.augment)

    def step(state: State, chosen: jax.Array, x: jax.Array, y: jax.Array) -> tuple[State, jax.Array]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        images = prepare(change(key, x[chosen]))

        def objective(params: PyTree) -> tuple[jax.Array, PyTree]:
            scores, statistics = model.apply(params, state.statistics, images, train=True)
            return softmax_cross_entropy(scores, y[chosen]).mean(), statistics

        (loss, statistics), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, opt = tx.update(grads, state.opt, state.params)
        return State(state.step + 1, optax.apply_updates(state.params, updates), statistics, opt), loss

    @jax.jit
    def epoch(state: State, x: jax.Array, y: jax.Array) -> tuple[State, jax.Array]:
        order = batches.order(config.seed, state.step // steps, len(x))[: steps * config.batch]
        return jax.lax.scan(lambda state, chosen: step(state, chosen, x, y), state, order.reshape(steps, -1))

    losses = np.zeros(0)
    with Checkpoints(config.folder / "checkpoints", print) as checkpoints:
        state = checkpoints.newest(jax.eval_shape(begin)) or begin()
        for number in range(int(state.step) // steps, config.epochs):
            start = time.perf_counter()
            state, values = jax.block_until_ready(epoch(state, x, y))
            seconds, losses = time.perf_counter() - start, np.asarray(values)
            print(f"epoch {number + 1}/{config.epochs}: loss {losses.mean():.4f}, {steps * config.batch / seconds:.0f} "
                  "images/s")  # fmt: skip
            checkpoints.save(int(state.step), state)
    reached = evaluate(model, state, prepare, test.images, test.labels)
    print(f"{data.name}: {reached:.2%} of {len(test.labels)} test images")
    return Result(state, losses, reached)


def load(folder: Path | None) -> Dataset:
    """CIFAR-10, or digits where it is not there."""
    try:
        return sources.load("cifar10", folder)
    except MissingDataError as missing:
        print(f"{missing}\nTraining on digits instead.")
        return sources.digits()


def optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """Nesterov's momentum over one cycle of the rate, with weight decay on what has more than one axis."""
    rate = optax.cosine_onecycle_schedule(config.epochs * steps, config.rate)
    return optax.chain(
        optax.add_decayed_weights(config.decay, mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params)),
        optax.sgd(rate, config.momentum, nesterov=True),
    )


def evaluate(model: Model, state: State, prepare, images: np.ndarray, labels: np.ndarray, size: int = 500) -> float:
    """The share of images that are recognised."""

    @jax.jit
    def share(state: State, x: jax.Array, y: jax.Array) -> jax.Array:
        scores, _ = model.apply(state.params, state.statistics, prepare(x), train=False)
        return accuracy(scores, y)

    parts = [slice(at, at + size) for at in range(0, len(labels), size)]
    hits = sum(float(share(state, images[part], labels[part])) * len(labels[part]) for part in parts)
    return hits / len(labels)


if __name__ == "__main__":
    cyclopts.run(main, result_action="return_value")
