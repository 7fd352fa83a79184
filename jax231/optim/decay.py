"""Weight decay in its two forms: coupled, an L2 penalty of the objective, and decoupled, a shrinking beside the step.

For plain gradient descent both are one. Where a method rescales gradients, as Adam does, it rescales the penalty's
gradient too, and only the decoupled form shrinks all parameters alike.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jax231.core import tree
from jax231.core.checks import require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.optim.objective import LOSSES, hidden
from jax231.optim.paths import Chosen, kernels, part, whole
from jax231.optim.wrapped import Wrapped


def penalty(params: PyTree, strength: Scalar, chosen: Chosen = kernels) -> jax.Array:
    """``strength / 2`` times the sum of squares of the chosen parameters; its gradient is ``strength * x``."""
    some = part(params, chosen)
    square = tree.dot(some, some)
    return (strength / 2 * square).astype(square.dtype)


def coupled(
    tx: optax.GradientTransformation, strength: Scalar, chosen: Chosen = kernels
) -> optax.GradientTransformationExtraArgs:
    """`tx`, of either order, on the objective plus `penalty`.

    Gradient, value, ``value_fn`` and the pair of ``outputs_fn`` and ``outputs_loss`` all get the penalty: what a line
    search or a Gauss-Newton product sees is the same function everywhere. The outputs become the pair of the model's
    outputs and the parameters. Each loss of ``per_example_fn`` gets all of it, since their mean is the objective.

    Raises:  ValueError if `strength` is negative where it can be seen.
    Source:  PyTorch's `weight_decay` of SGD and Adam; CS231n notes, neural-networks-2, "L2 regularization".
    """
    require_nonnegative("coupled", strength=strength)
    tx = optax.with_extra_args_support(tx)

    def more(params):
        return penalty(params, strength, chosen)

    def pull(grads, params):
        return whole(tree.axpy(strength, part(params, chosen), part(grads, chosen)), grads)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        given = {key: x for key, x in extra.items() if x is not None}
        if "value" in given:
            extra["value"] = given["value"] + more(params)
        if "grad" in given:
            extra["grad"] = pull(given["grad"], params)
        for name in given.keys() & {*LOSSES, "per_example_fn"}:
            extra[name] = lambda p, fun=given[name]: fun(p) + more(p)
        if "outputs_fn" in given:
            extra["outputs_fn"] = lambda p: (given["outputs_fn"](p), p)
            extra["outputs_loss"] = lambda outputs: given["outputs_loss"](outputs[0]) + more(outputs[1])
        steps, inner = tx.update(pull(updates, params), state.fresh(), params, **extra)
        return steps, Wrapped(inner)

    return optax.GradientTransformationExtraArgs(lambda params: Wrapped(tx.init(params)), update)


def decoupled(
    tx: optax.GradientTransformation, rate: optax.ScalarOrSchedule, strength: Scalar, chosen: Chosen = kernels
) -> optax.GradientTransformationExtraArgs:
    """`tx`, and besides ``x += -rate * strength * x`` for the chosen parameters.

    `rate` is that of `tx`, a number or a schedule, so that the decay falls with it: ``decoupled(adam(rate), rate, 0.01,
    everything)`` is AdamW.

    Raises:  ValueError if `strength` is negative where it can be seen, and while tracing if `tx` evaluates the
             objective: its step would no longer be the one that lowers the loss.
    Source:  Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2, with the decay times the rate.
    """
    require_nonnegative("decoupled", strength=strength)
    tx = optax.with_extra_args_support(tx)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        extra = hidden("decoupled", "give it the penalty in its objective (decay.coupled)", extra)
        steps, inner = tx.update(updates, state.inner, params, **extra)
        now = rate(state.own) if callable(rate) else rate
        shrunk = tree.axpy(-jnp.asarray(now) * strength, part(params, chosen), part(steps, chosen))
        return whole(shrunk, steps), Wrapped(inner, optax.safe_increment(state.own))

    def init(params: PyTree) -> Wrapped:
        return Wrapped(tx.init(params), jnp.zeros((), jnp.int32))

    return optax.GradientTransformationExtraArgs(init, update)
