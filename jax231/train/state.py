"""Where a training run stands: one tree of arrays, which a checkpoint holds whole."""

from typing import NamedTuple

from jaxtyping import Array, Float, Int

from jax231.core.types import Key, PyTree
from jax231.optim.average import Average


class TrainState(NamedTuple):
    """Everything that the next step depends on, and what is known of the epoch that it lies in.

    `step` counts steps from the start of the run. `average`, where there is one, is that of parameters and model state
    together, ``(params, state)``. `carry` is what a recurrent network carries from one window of a text to the next,
    None for other models. `key` never changes; step n draws from ``fold_in(key, n)``. `losses` and `accuracies` are
    those of the steps of the present epoch so far, the rest being left from the one before; `start` is the first loss
    of the run. `snapshots`, where the run keeps some, are parameters and model state at the ends of its last cycles,
    ``(params, state)`` with an axis for them, the newest last.

    Of a run of several members every array but `step` has a first axis for them.
    """

    step: Int[Array, ""]
    params: PyTree
    state: PyTree
    opt_state: PyTree
    average: Average | None
    carry: PyTree
    key: Key
    start: Float[Array, "*members"]
    losses: Float[Array, "*members steps"]
    accuracies: Float[Array, "*members steps"]
    snapshots: PyTree = None
