"""The optimizer of a configuration: its rate over time, weight decay and clipping put around the catalog's method."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import jax
import optax

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.optim import catalog, decay, schedules
from jax231.optim.clip import clipped
from jax231.optim.on_subset import on_subset
from jax231.optim.paths import kernels, matching
from jax231.optim.wrapped import Wrapped
from jax231.train.config import Config

DROP = 0.1
"""By which the schedule "step" multiplies the rate."""

LAST = 1e-2
"""What is left of the rate at the end of the schedules "exponential" and "inverse_time"."""


def rate(config: Config, epoch_steps: int) -> Any:
    """The step size as a function of the step, or the number itself where it never changes."""
    size, warmup = config.step_size, config.warmup * epoch_steps
    steps = max(1, config.epochs * epoch_steps - warmup)
    if config.schedule == "constant":
        after = schedules.constant(size)
        return schedules.warm_up(after, warmup) if warmup else size
    after = {
        "cosine": lambda: schedules.cosine(size, steps),
        "step": lambda: schedules.milestones(size, [share * steps for share in config.drops], DROP),
        "exponential": lambda: _exponential(size, steps),
        "inverse_time": lambda: schedules.inverse_time(size, (1 / LAST - 1) / steps),
        "warm_restarts": lambda: schedules.warm_restarts(size, config.cycle * epoch_steps, config.growth),
        "one_cycle": lambda: schedules.one_cycle(size, steps),
    }[config.schedule]()
    return schedules.warm_up(after, warmup) if warmup else after


def _exponential(size: float, steps: float) -> schedules.Schedule:
    return schedules.exponential(size, -math.log(LAST) / steps)


def build(config: Config, epoch_steps: int) -> optax.GradientTransformationExtraArgs:
    """The transformation of a configuration whose epochs have so many steps.

    Weight decay reaches kernels only. It is decoupled for the methods that are defined so (AdamW, Lion, Muon), and for
    all others a penalty of the objective, which a line search sees too. Gradients are cut before the penalty's is
    added, as in PyTorch.

    Raises: ValueError for options that the optimizer does not have, and while tracing for a limit on the gradient of a
            method that evaluates the objective.
    """
    entry = catalog.entry(config.optimizer)
    known = list(inspect.signature(entry.builder).parameters)[1:]
    reserved = ("weight_decay", "decayed")
    unknown = [name for name in config.options if name not in known or name in reserved]
    require(not unknown, f"optim.{entry.name}", "options that it has", unknown=unknown, known=known)
    at: Any = config.step_size if entry.setting == "damping" else rate(config, epoch_steps)
    options: dict[str, Any] = dict(config.options)
    if "decayed" in known:
        tx = entry.builder(at, **options, weight_decay=config.decay, decayed=kernels)
    else:
        tx = entry.builder(at, **options)
        if config.decay > 0 and entry.name == "muon":
            tx = decay.decoupled(tx, at, config.decay)
        elif config.decay > 0:
            tx = decay.coupled(tx, config.decay)
    if config.clip is not None:
        tx = clipped(tx, config.clip)
    if config.factors:
        tx = _scaled(tx, config.factors)
    if config.freeze:
        still = matching(*config.freeze)
        tx = on_subset(tx, lambda name: not still(name))
    return tx


def require_patterns(config: Config, names: Sequence[str]) -> None:
    """Every pattern of `freeze` and `factors` fits a parameter's name: else a slip of the pen would train them all.

    Raises: ValueError naming those that fit none, with the names.
    """
    for field, patterns in (("freeze", config.freeze), ("factors", config.factors)):
        fit_none = [pattern for pattern in patterns if not any(map(matching(pattern), names))]
        expected = f"patterns of {field} that fit a parameter of {config.model}"
        require(not fit_none, "train", expected, fit_none=fit_none, names=list(names))


def _scaled(
    tx: optax.GradientTransformationExtraArgs, factors: dict[str, float]
) -> optax.GradientTransformationExtraArgs:
    """`tx` with the steps of some parameters times a factor, that of the first pattern which fits a name."""

    def factor(name: str) -> float:
        return next((x for pattern, x in factors.items() if matching(pattern)(name)), 1.0)

    def update(updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> tuple[PyTree, PyTree]:
        updates, state = tx.update(updates, state, params, **extra)
        return jax.tree_util.tree_map_with_path(lambda path, x: factor(tree.name(path)) * x, updates), state

    return optax.GradientTransformationExtraArgs(tx.init, update)


def evaluation_params(config: Config, opt_state: PyTree, params: PyTree) -> PyTree:
    """Where to evaluate: the parameters themselves, or the mean that a schedule-free method keeps."""
    while isinstance(opt_state, Wrapped):
        opt_state = opt_state.inner
    return catalog.entry(config.optimizer).evaluation_params(opt_state, params)
