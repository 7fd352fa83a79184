"""Nesterov's momentum in three forms: the course's, Optax's, and the look-ahead with a gradient of its own.

The look-ahead form is the definition: with ``y = x + decay * v`` it takes ``v = decay * v - rate * grad f(y)`` and
``x = x + v``. The other two keep only the look-ahead point y and call it x, so that the gradient they are handed is
already the right one. Whatever the rates are, the course's form follows the look-ahead points exactly. Optax's form
keeps the rate outside the velocity and follows them too while the rate is constant; when a schedule changes the
rate from r to s, it scales the velocity collected so far by ``s / r`` as well. After a sudden drop of the rate the
course's form therefore coasts on for about ``1 / (1 - decay)`` steps, and Optax's stops.

The catalog's ``nesterov`` is the course's form.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from jax231.core import tree
from jax231.core.checks import require_positive, require_rate
from jax231.core.types import PyTree
from jax231.optim import counts
from jax231.optim.dtypes import keep_dtypes


class Velocity(NamedTuple):
    """The decaying sum of past steps (of past gradients where the rate stays outside)."""

    velocity: PyTree


def nesterov(rate: optax.ScalarOrSchedule, decay: jax.Array | float = 0.9) -> optax.GradientTransformationExtraArgs:
    """The course's form: ``old = v;  v = decay * v - rate * g;  x += -decay * old + (1 + decay) * v``.

    Raises:    ValueError if `rate` is not positive or `decay` outside [0, 1] where they can be seen.
    Source:    Bengio et al. 2012 (arXiv:1212.0901), eq. 7; CS231n notes, neural-networks-3, "Nesterov Momentum".
    """
    _check("nesterov", rate, decay)

    def update(updates, state, params=None):
        velocity = jax.tree.map(lambda v, step: decay * v + step, state.velocity, updates)
        steps = jax.tree.map(lambda old, v: -decay * old + (1 + decay) * v, state.velocity, velocity)
        return steps, Velocity(velocity)

    return keep_dtypes(
        optax.chain(optax.scale_by_learning_rate(rate), optax.GradientTransformation(_at_rest, update)),
    )


def nesterov_optax(
    rate: optax.ScalarOrSchedule, decay: jax.Array | float = 0.9
) -> optax.GradientTransformationExtraArgs:
    """Optax's (and PyTorch's) form: ``v = decay * v + g;  x += -rate * (g + decay * v)``.

    Raises:    ValueError if `rate` is not positive or `decay` outside [0, 1] where they can be seen.
    Source:    Sutskever et al. 2013; `optax.sgd` with `nesterov=True`.
    """
    _check("nesterov_optax", rate, decay)

    def update(updates, state, params=None):
        velocity = jax.tree.map(lambda v, g: decay * v + g, state.velocity, updates)
        return jax.tree.map(lambda g, v: g + decay * v, updates, velocity), Velocity(velocity)

    return keep_dtypes(
        optax.chain(optax.GradientTransformation(_at_rest, update), optax.scale_by_learning_rate(rate)),
    )


class LookaheadState(NamedTuple):
    """The velocity, the state of the rate's schedule, and two gradients a step."""

    velocity: PyTree
    schedule: optax.OptState
    counts: counts.Counts


def nesterov_lookahead(
    rate: optax.ScalarOrSchedule, decay: jax.Array | float = 0.9
) -> optax.GradientTransformationExtraArgs:
    """The definition: ``v = decay * v - rate * grad f(x + decay * v);  x += v``.

    It needs ``value_fn`` and takes its gradient at the look-ahead point; the gradient handed to ``update`` is not used.

    Cost:      one gradient more than the other forms.
    Raises:    ValueError if `rate` is not positive or `decay` outside [0, 1] where they can be seen, or without
               `value_fn`.
    Source:    Nesterov 1983; Sutskever et al. 2013, eqs. 3 and 4; CS231n notes, neural-networks-3.
    """
    _check("nesterov_lookahead", rate, decay)
    by_rate = optax.scale_by_learning_rate(rate)

    def init(params):
        return LookaheadState(tree.zeros_like(params), by_rate.init(params), counts.none())

    def update(updates, state, params=None, *, value_fn: Callable[[PyTree], jax.Array] | None = None, **_: Any):
        if params is None or value_fn is None:
            missing = "params" if params is None else "value_fn"
            raise ValueError(f"nesterov_lookahead: expected params and value_fn in update; got {missing}=None")
        ahead = jax.grad(value_fn)(tree.axpy(decay, state.velocity, params))
        steps, schedule = by_rate.update(ahead, state.schedule)
        velocity = jax.tree.map(lambda v, step: decay * v + step, state.velocity, steps)
        return velocity, LookaheadState(velocity, schedule, state.counts.plus(gradient=2))

    return keep_dtypes(optax.GradientTransformationExtraArgs(init, update))


def _at_rest(params: PyTree) -> Velocity:
    return Velocity(tree.zeros_like(params))


def _check(where: str, rate: optax.ScalarOrSchedule, decay: jax.Array | float) -> None:
    require_positive(where, rate=rate)
    require_rate(where, "decay", decay)
