"""Several networks trained as one program: members that differ by their seeds, side by side as lanes of a `vmap`.

Each has first parameters, an order of examples, masks and augmentation of its own, those of the run of its seed alone.
A configuration of one member is trained without lanes.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jax231.core.types import PyTree
from jax231.train import failure, snapshots, step
from jax231.train.config import Config
from jax231.train.network import Network
from jax231.train.splits import Splits
from jax231.train.state import TrainState
from jax231.train.step import Place, Task

LANES: Any = TrainState._make([None] + [0] * (len(TrainState._fields) - 1))
"""All members stand at the same step: the bounds of the loop over steps are numbers, not lanes of them."""


def seeds(config: Config) -> np.ndarray:
    """The members' seeds."""
    return config.seed + np.arange(config.members)


def single(config: Config, member: int) -> Config:
    """The configuration of a member alone."""
    return replace(config, seed=config.seed + member, members=1)


def begin(config: Config, network: Network, steps: int, batch: int, weights: PyTree = None) -> TrainState:
    """As `step.begin`; of several members `weights` have a first axis for them."""
    if config.members == 1:
        return step.begin(config, network, steps, batch, weights)
    one = jax.vmap(lambda seed, own: step.begin(config, network, steps, batch, own, seed), out_axes=LANES)
    return one(jnp.asarray(seeds(config)), weights)


def advance(task: Task, place: Place = lambda batch: batch) -> Callable[[TrainState, PyTree, Array], TrainState]:
    """As `step.advance`, for all members at once."""
    run = step.advance(task, place)
    if task.config.members == 1:
        return run
    lanes = jax.vmap(run, in_axes=(LANES, None, None, 0), out_axes=LANES)
    return lambda train, data, last: lanes(train, data, last, jnp.asarray(seeds(task.config)))


def evaluated(config: Config, train: TrainState) -> tuple[PyTree, PyTree]:
    """As `step.evaluated`; of several members with a first axis for them."""
    if config.members == 1:
        return step.evaluated(config, train)
    return jax.vmap(lambda one: step.evaluated(config, one), in_axes=(LANES,))(train)


def snapped(config: Config, train: TrainState) -> TrainState:
    """The state with what would be evaluated now as its newest snapshot."""
    push = snapshots.push if config.members == 1 else jax.vmap(snapshots.push)
    return train._replace(snapshots=push(train.snapshots, evaluated(config, train)))


def alone(config: Config, train: TrainState, member: int) -> TrainState:
    """The state of a member, as its run alone has it."""
    if config.members == 1:
        return train
    return TrainState(train.step, *jax.tree.map(lambda x: x[member], train[1:]))


def ensemble(config: Config, train: TrainState, kept: int) -> tuple[PyTree, PyTree]:
    """Parameters and states of all that predict together, with a first axis for them.

    They are the newest `kept` snapshots, member by member; where there are none, the members as they are.
    """
    if kept == 0:
        return evaluated(config, train)
    if config.members == 1:
        return jax.tree.map(lambda x: x[-kept:], train.snapshots)
    return jax.tree.map(lambda x: x[:, -kept:].reshape(-1, *x.shape[2:]), train.snapshots)


def transferred(config: Config, network: Network, splits: Splits, say: Callable[[str], None]) -> PyTree:
    """As `transfer.initial`; of several members with a first axis for them, as each has a head of its own."""
    from jax231.train import transfer  # it reads runs, and those their members

    data = network, splits.shape, splits.classes
    if config.members == 1:
        return transfer.initial(config, *data, say)
    silent = [lambda text: None] * (config.members - 1)
    each = [transfer.initial(single(config, i), *data, tell) for i, tell in enumerate([say, *silent])]
    return jax.tree.map(lambda *x: jnp.stack(x), *each)


def failed(
    task: Task,
    before: TrainState,
    train: TrainState,
    given: Callable[[int], PyTree],
    splits: Splits,
    steps: tuple[int, int],
) -> str | None:
    """Which member went wrong between two steps of an epoch, and how, as `failure` says; None where none did.

    ``given(step)`` is the data of a step of the run.
    """
    config, (first, last) = task.config, steps
    expected = task.network.entry.expected_start(len(splits.classes))
    whole = failure.finite(train, first, last)
    for i, seed in enumerate(seeds(config)):
        if whole or failure.finite(alone(config, train, i), first, last):
            known = train._replace(losses=train.losses[i], start=train.start[i])
            reason = failure.explosion(known, last, expected)
        else:
            own = step.assemble(single(config, i), splits)
            reason = failure.locate(own, jax.jit(step.advance(own)), alone(config, before, i), given, last)
        if reason is not None:
            return f"the member of seed {seed}: {reason}"
    return None
