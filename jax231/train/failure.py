"""What went wrong in a run that cannot go on: a loss that exploded, or a number that is not finite, and where."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from jax231.core import tree
from jax231.core.types import Batch, PyTree
from jax231.train.nan import first_not_finite
from jax231.train.state import TrainState
from jax231.train.step import Task, dressed

EXPLODED = 3.0
"""A loss so many times the first one stops the run: "break out early", says the course."""

HIGH = "the rate is too high"
"""What the course advises to think of first."""

WINDOW = 20
"""Steps over which the loss is averaged before it is compared."""


class DivergedError(ValueError):
    """Training went wrong; the message says at which step, where, and what may help."""


@jax.jit
def all_finite(values: PyTree) -> Bool[Array, ""]:
    """Whether every number is finite."""
    return jnp.all(jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(values)]))


def finite(train: TrainState, first: int, last: int) -> bool:
    """Whether the losses of the steps from `first` to `last` of the epoch are, and the parameters after them."""
    return bool(np.isfinite(np.asarray(train.losses)[..., first:last]).all()) and bool(all_finite(train.params))


def explosion(train: TrainState, last: int, expected_start: float) -> str | None:
    """How far the loss has gone beyond 3 times the first one, None where it has not.

    The first loss counts as no less than `expected_start`, that of scores which are all alike: a run that starts from
    good parameters may lose some of what they know.
    """
    mean = float(np.asarray(train.losses)[max(0, last - WINDOW) : last].mean())
    start = max(float(train.start), expected_start)
    if mean <= EXPLODED * start:
        return None
    how = f"the loss is {mean:.4g}, more than {EXPLODED:g} times the {start:.4g} of the start"
    return f"{how}, at step {int(train.step)}: {HIGH}"


def locate(
    task: Task, run: Callable[..., TrainState], before: TrainState, given: Callable[[int], PyTree], last: int
) -> str:
    """Where the first number that is not finite arises in the steps from `before` to `last` of its epoch.

    ``given(step)`` is the data that `run` takes at a step of the run.

    It goes through them one by one, and then through the layers and gradients of the step that broke.
    """
    steps, train = task.feed.steps, before
    for i in range(int(before.step) % steps, last):
        data = given(int(train.step))
        after = run(train, data, np.int32(i + 1))
        if not np.isfinite(np.asarray(after.losses)[i]):
            return f"step {int(after.step)}: {_place(task, train, data, i)} is the first that is not finite: {HIGH}"
        bad = [name for name, x in _leaves(after.params) if not np.isfinite(np.asarray(x)).all()]
        if bad:
            return f"step {int(after.step)}: a finite loss whose update made {bad[0]} not finite: {HIGH}"
        train = after
    return f"step {int(train.step)}: not found again"


def _place(task: Task, train: TrainState, data: PyTree, i: int) -> str:
    """What is the first not to be finite in step `i` of the epoch."""
    raw = task.feed.take(data, task.feed.plan(data, train.step // task.feed.steps, task.config.seed), jnp.asarray(i))
    batch, key = dressed(task, train, raw)
    read = Batch(task.network.inputs(batch, train.carry), batch.targets)
    masks = jax.random.split(key, task.config.accumulate)[0]
    place = first_not_finite(task.network.constructor, train.params, train.state, read, task.network.smoothed, masks)
    return "the loss" if place is None else place


def _leaves(params: PyTree) -> list[tuple[str, Any]]:
    return list(zip(tree.names(params), jax.tree.leaves(params), strict=True))
