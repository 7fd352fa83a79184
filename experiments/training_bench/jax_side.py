"""Training as `jax231 train` does it: chunks of the compiled epoch, undonated, with loss and accuracy of each step."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from kernel_bench.jax_side import compile_timed
from kernel_bench.job import Job
from zoo_bench import exchange as files
from zoo_bench.jax_side import hello

from jax231.core.types import Batch
from jax231.data import batches
from jax231.models import pretrained
from jax231.train import optimizer, splits, step
from jax231.train.config import Config
from jax231.train.state import TrainState
from training_bench.training_cases import AGREE, Case

__all__ = ["build", "hello"]


def build(side: str, case: Case, form: str, exchange: Path) -> Job:
    """A run on its way; data, first weights and what is drawn for the first steps are left in the exchange folder.

    The steps that are compared, where nothing is dropped, are done here, and each call after them does a chunk.
    """
    del side, form
    config = Config(**case.choices)
    found = splits.load(config)
    task = step.assemble(config, found)
    begun = jax.jit(lambda: step.begin(config, task.network, task.feed.steps, task.feed.batch))()
    files.write(exchange, case.name, lambda: weights(case, begun))
    files.write(exchange, f"{case.name}-data", lambda: _handed(task, found, begun))

    last = jnp.asarray(AGREE)
    program, seconds, kernels = compile_timed(jax.jit(step.advance(task)), begun, task.feed.data, last)
    certain = program
    if config.dropout:
        certain = jax.jit(step.advance(step.assemble(replace(config, dropout=0.0), found)))
    compared = certain(begun, task.feed.data, last)
    outputs = [np.asarray(compared.losses[:AGREE]), files.norms(weights(case, compared))]
    train = compared

    def call() -> TrainState:
        nonlocal train
        epoch, first = divmod(int(train.step), task.feed.steps)
        if first + case.chunk > task.feed.steps:
            train, first = train._replace(step=jnp.int32((epoch + 1) * task.feed.steps)), 0
        train = jax.block_until_ready(program(train, task.feed.data, jnp.asarray(first + case.chunk)))
        return train

    return Job(call, lambda _: outputs, seconds, kernels)


def weights(case: Case, train: TrainState) -> dict[str, np.ndarray]:
    """Parameters and running statistics by PyTorch's names."""
    if case.name != "lenet":
        return pretrained.to_state_dict(case.name, train.params, train.state)
    arrays = {}
    for layer, params in train.params.items():
        kernel = np.asarray(params["kernel"])
        arrays[f"{layer}.weight"] = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        arrays[f"{layer}.bias"] = np.asarray(params["bias"])
    return {name: np.array(array, order="C") for name, array in arrays.items()}


def _handed(task: step.Task, found: splits.Splits, begun: TrainState) -> Mapping[str, Any]:
    """What the other side trains on: data, the order of the first epoch, rates by step, and the first crops."""
    config, feed = task.config, task.feed
    rate = optimizer.rate(config, feed.steps)
    rates = jax.vmap(rate)(jnp.arange(config.epochs * feed.steps))
    handed = {"inputs": np.asarray(feed.data.inputs), "targets": np.asarray(feed.data.targets, np.int64),
              "rates": np.asarray(rates), "classes": len(found.classes)}  # fmt: skip
    if found.stats is None:
        return handed | {"hidden": config.arguments["hidden"]}
    mean, scale = (np.asarray(x, np.float32) for x in (found.stats.mean, found.stats.scale))
    handed |= {"mean": mean, "scale": scale, "order": np.asarray(batches.order(config.seed, 0, len(handed["inputs"])))}
    return handed | ({"crops": crops(task, begun, found)} if config.augment else {})


def crops(task: step.Task, begun: TrainState, found: splits.Splits) -> np.ndarray:
    """Of the first steps (steps, n, 3): whether each image is turned, and the row and column where its crop begins.

    Found by augmenting images whose pixels are their own coordinates.
    """
    height, width, channels = found.shape
    rows, columns = np.indices((height, width))
    coordinates = np.stack([rows, columns, *[rows] * (channels - 2)], -1)
    raw = Batch(jnp.asarray(np.broadcast_to(coordinates, (task.feed.batch, *coordinates.shape))),
                jnp.zeros(task.feed.batch, jnp.int32))  # fmt: skip
    assert found.stats is not None
    mean, scale = (np.asarray(x, np.float32) for x in (found.stats.mean, found.stats.scale))
    middle, pad = height // 2, height // 8
    drawn = []
    for i in range(AGREE):
        seen = step.dressed(task, begun._replace(step=jnp.int32(i)), raw)[0].inputs
        at = np.rint(np.asarray(seen) * scale + mean).astype(int)
        row, column, next_column = at[:, middle, middle, 0], at[:, middle, middle, 1], at[:, middle, middle + 1, 1]
        turned = next_column < column
        column = np.where(turned, width - 1 - column, column)
        drawn.append(np.stack([turned, row + pad - middle, column + pad - middle], -1))
    return np.stack(drawn).astype(np.int64)
