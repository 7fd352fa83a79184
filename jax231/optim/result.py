"""How a run of `minimise` ended, and where."""

import enum
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import is_concrete
from jax231.core.types import PyTree
from jax231.optim.counts import Counts

PATIENCE = 20
"""Steps without a value below all before, after which a run is stalled: a line search accepts equal values too."""


class Status(enum.IntEnum):
    """Why a run ended, or that it goes on."""

    RUNNING = 0
    CONVERGED = 1
    """The largest entry of the gradient is at most `gtol`."""
    FLAT = 2
    """A step lowered the value by `ftol` of it, or less."""
    STALLED = 3
    """No step along the method's direction, nor along the gradient, lowers the value, or none has for `PATIENCE` steps:
    often the limit of rounding."""
    STEPS = 4
    """`max_steps` were done."""
    NOT_FINITE = 5
    """The value or the gradient of the next point is infinite or not a number; the run stays where it was."""


class Result(NamedTuple):
    """Where a run ended, and how; of several runs, each leaf with an axis of runs in front.

    `grad_norm` is the largest entry of the gradient at x, in absolute value; within bounds, of the projected gradient
    ``x - clip(x - gradient)``. `converged` is true for a `grad_norm` within `gtol` only; `status` is a `Status`, and
    prints by its name. `history` holds the values at the start and after each step, NaN after the last, where it was
    asked for; `aux` what the function returned beside the value at x.
    """

    x: PyTree
    value: Float[Array, ""]
    grad_norm: Float[Array, ""]
    converged: Bool[Array, ""]
    status: Int[Array, ""]
    steps: Int[Array, ""]
    counts: Counts
    history: Float[Array, " steps"] | None = None
    aux: PyTree = None

    def __str__(self) -> str:
        """A line for each fact; of several runs how many ended how, the work of all, and the lowest value."""
        if not all(map(is_concrete, jax.tree.leaves(self))):
            return repr(self)
        status, values = np.ravel(self.status), np.ravel(self.value)
        several = np.ndim(self.status) > 0
        ends = [f"{np.sum(status == end)} {end.name}" if several else end.name for end in Status if end in status]
        best = int(np.argmin(np.where(np.isnan(values), np.inf, values)))
        used = {name: int(np.sum(count)) for name, count in self.counts._asdict().items()}
        shapes = zip(tree.names(self.x), jax.tree.leaves(self.x), strict=True)
        rows = {
            "status": ", ".join(ends),
            "value": f"{values[best]:.8g}" + ", the lowest" * several,
            "grad_norm": f"{np.ravel(self.grad_norm)[best]:.3g}" + " there" * several,
            "steps": f"{np.sum(self.steps)}" + " in all" * several,
            "counts": ", ".join(f"{name} {count}" for name, count in used.items() if count),
            "x": ", ".join(f"{name} {leaf.dtype} {leaf.shape}".strip() for name, leaf in shapes),
        }
        return "\n".join(f"{name:<10}{row}" for name, row in rows.items())
