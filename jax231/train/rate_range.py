"""The learning-rate range test: train while the rate grows, and see where the loss falls and where it explodes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.train.activity import Builder, draw, gradient
from jax231.train.case import Case, Check

EXPLODED = 3.0
"""A loss so many times the first one ends the test."""

WINDOW = 7
"""Steps over which losses are averaged before their slope is taken."""

FELL = 0.02
"""Share of the first loss by which the loss must fall."""

BELOW = 0.1
"""Share of the rate at the lowest loss that is suggested at most."""


class RateRange(NamedTuple):
    """What the curve of losses says: the rate where the loss falls fastest, and where it exploded, None if nowhere.

    `suggested` is that of the fastest fall, but at most a tenth of the rate at the lowest loss: momentum acts
    late. `lowest` is the smallest mean loss over a window, `first` the first; `at_edge` says that the loss still fell
    at the largest rate.
    """

    suggested: float
    fastest: float
    exploded: float | None
    first: float
    lowest: float
    at_edge: bool


def losses_over_rates(case: Case, builder: Builder, rates: Float[np.ndarray, "steps"], batch: int = 64) -> np.ndarray:
    """The loss before each step and behind the last one, the n-th step taken at the n-th of the `rates`.

    One compiled scan; from the first loss that is beyond 3 times the start or not finite all are NaN.

    Shapes:  rates (steps,) -> (steps + 1,).
    Source:  Smith 2017 (arXiv:1506.01186), section 3.3.
    """
    rates = np.append(rates, 0.0)

    @jax.jit
    def run(params: PyTree, state: PyTree, rates: jax.Array, batches: jax.Array) -> jax.Array:
        def step(carry, given):
            params, state, memory, count, first, alive = carry
            rate, some = given
            (loss, new), grads = gradient(case, params, state, some, count)
            first = jnp.where(count == 0, loss, first)
            alive = alive & (loss <= EXPLODED * first)
            updates, after = builder(rate).update(grads, memory, params)
            moved = jax.tree.map(jnp.add, params, updates), new, after
            kept = jax.tree.map(lambda now, old: jnp.where(alive, now, old), moved, (params, state, memory))
            return (*kept, count + 1, first, alive), jnp.where(alive, loss, jnp.nan)

        memory = builder(rates[0]).init(params)
        start = (params, state, memory, jnp.zeros((), jnp.int32), jnp.zeros(()), jnp.asarray(True))
        return jax.lax.scan(step, start, (rates, batches))[1]

    batches = draw(case, len(rates), batch)
    return np.asarray(run(case.params, case.state, jnp.asarray(rates, jnp.float32), batches))


def read(rates: Float[np.ndarray, "steps"], losses: Float[np.ndarray, "steps_and_one"]) -> RateRange:
    """The rate of steepest descent before the minimum of the averaged curve, over the logarithm of the rate.

    Raises: ValueError for fewer than two windows of rates, or where there is not one loss more.
    """
    enough = len(rates) >= 2 * WINDOW and len(losses) == len(rates) + 1
    require(enough, "rate_range.read", f"at least {2 * WINDOW} rates and a loss more", rates=rates, losses=losses)
    after = losses[1:]  # what a step at a rate led to
    alive = int(np.argmin(np.isfinite(after))) if not np.isfinite(after).all() else len(after)
    exploded = float(rates[alive]) if alive < len(after) else None
    first = float(losses[0])
    if alive < WINDOW:
        return RateRange(
            float(rates[0]), float(rates[0]), exploded, first, float(np.min(losses[: alive + 1])), at_edge=False
        )
    smooth = np.convolve(after[:alive], np.ones(WINDOW) / WINDOW, "valid")
    middle = np.log(rates[WINDOW // 2 : WINDOW // 2 + len(smooth)])
    bottom = int(np.argmin(smooth))
    slopes = np.gradient(smooth, middle)[: bottom + 1] if len(smooth) > 1 else np.zeros(1)
    at_edge = exploded is None and bottom == len(smooth) - 1
    fastest, lowest = float(np.exp(middle[np.argmin(slopes)])), float(np.exp(middle[bottom]))
    return RateRange(min(fastest, BELOW * lowest), fastest, exploded, first, float(smooth[bottom]), at_edge)


def rate_range(
    case: Case, builder: Builder, low: float, high: float, steps: int = 100, batch: int = 64
) -> tuple[Check, RateRange]:
    """Some rate between `low` and `high` makes the loss fall; the check says which."""
    rates = np.geomspace(low, high, steps)
    losses = losses_over_rates(case, builder, rates, batch)
    found = read(rates, losses)
    numbers = {**found._asdict(), "rates": rates.tolist(), "losses": [x if np.isfinite(x) else None
                                                                      for x in losses.tolist()]}  # fmt: skip
    said = f"loss {found.first:.3g} -> {found.lowest:.3g}, fastest near a rate of {found.fastest:.2g}"
    said += "" if found.exploded is None else f"; explodes at {found.exploded:.2g}"
    if found.lowest < (1 - FELL) * found.first:
        advice = f"the loss still falls at the largest rate, {high:g}: try higher ones" if found.at_edge else ""
        return Check("rate range", "warning" if found.at_edge else "ok", said, numbers, advice), found
    advice = (
        f"loss not going down between {low:g} and {high:g}: learning rate too low, or a defect that 20 examples show"
        if found.exploded is None
        else f"cost explodes before it goes down: learning rate too high already at {low:g}"
    )
    return Check("rate range", "failed", said, numbers, advice), found
