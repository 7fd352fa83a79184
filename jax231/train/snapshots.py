"""Snapshots: what a run with warm restarts has learned at the ends of its cycles, an ensemble from a single run."""

import math

import jax
import jax.numpy as jnp

from jax231.core.types import PyTree
from jax231.train.config import Config, cycle_ends


def room(count: int, weights: PyTree) -> PyTree:
    """Zeros for so many snapshots of `weights`; None for none."""
    return None if count == 0 else jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), weights)


def push(kept: PyTree, weights: PyTree) -> PyTree:
    """`kept` with `weights` as the newest, without the oldest."""
    return jax.tree.map(lambda old, new: jnp.concatenate([old[1:], new[None].astype(old.dtype)]), kept, weights)


def steps(config: Config, epoch_steps: int) -> tuple[int, ...]:
    """The steps after which a snapshot is taken: the first ones at or behind the ends of the cycles."""
    if config.snapshots == 0:
        return ()
    return tuple(math.ceil(round(end * epoch_steps, 6)) for end in cycle_ends(config))


def taken(config: Config, epoch_steps: int, step: int) -> tuple[int, ...]:
    """The steps of the snapshots that a run keeps after `step` steps, the newest last."""
    past = tuple(at for at in steps(config, epoch_steps) if at <= step)
    return past[-config.snapshots :] if config.snapshots else ()
