"""Schedule-free AdamW and SGD: an average of the iterates in the place of a falling rate."""

import jax
import optax
from optax import contrib

from jax231.core.checks import require, require_nonnegative, require_positive, require_rate
from jax231.core.types import PyTree, Scalar
from jax231.optim import schedules
from jax231.optim.dtypes import keep_dtypes


def schedule_free(
    rate: jax.Array | float,
    b1: jax.Array | float = 0.9,
    b2: jax.Array | float = 0.999,
    eps: jax.Array | float = 1e-8,
    *,
    weight_decay: jax.Array | float = 0.0,
    warm_up: Scalar = 0,
) -> optax.GradientTransformationExtraArgs:
    """AdamW without momentum walks as z; its running mean is x; the gradient is taken at ``b1 * x + (1 - b1) * z``.

    The parameters of the training loop are the points of the gradient. Evaluate, and keep, the mean: it is
    ``evaluation_params(state, params)``. The rate stays where it is after `warm_up` steps of linear growth. The mean is
    computed back from the parameters, so bfloat16 parameters round it.

    Raises:    ValueError if `rate` is not positive, b1 not within (0, 1], b2 outside [0, 1], `eps`, `weight_decay` or
               `warm_up` negative where they can be seen.
    Source:    Optax (`optax.contrib.schedule_free_adamw`); Defazio et al. 2024 (arXiv:2405.15682).
    """
    _check("schedule_free", rate, b1, eps=eps, weight_decay=weight_decay, warm_up=warm_up)
    require_rate("schedule_free", "b2", b2)
    at = schedules.warm_up(schedules.constant(rate), warm_up)
    base = optax.chain(
        optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(at),
    )
    return keep_dtypes(contrib.schedule_free(base, at, b1))


def schedule_free_sgd(
    rate: jax.Array | float, b1: jax.Array | float = 0.9, *, warm_up: Scalar = 0
) -> optax.GradientTransformationExtraArgs:
    """As `schedule_free`, with plain gradient steps of z.

    Raises:    ValueError if `rate` is not positive, b1 not within (0, 1], `warm_up` negative where they can be seen.
    Source:    Optax (`optax.contrib.schedule_free_sgd`); Defazio et al. 2024 (arXiv:2405.15682).
    """
    _check("schedule_free_sgd", rate, b1, warm_up=warm_up)
    at = schedules.warm_up(schedules.constant(rate), warm_up)
    return keep_dtypes(contrib.schedule_free(optax.sgd(at), at, b1))


def evaluation_params(state: PyTree, params: PyTree) -> PyTree:
    """The running mean x of the iterates, in the types of `params`: what to evaluate and to keep.

    Raises:    ValueError if `state` is not that of a schedule-free method.
    """
    known = isinstance(state, contrib.ScheduleFreeState)
    require(known, "evaluation_params", "the state of a schedule-free method", state=type(state).__name__)
    mean = contrib.schedule_free_eval_params(state, params)
    return jax.tree.map(lambda x, like: x.astype(like.dtype), mean, params)


def _check(where: str, rate: jax.Array | float, b1: jax.Array | float, **numbers: Scalar) -> None:
    require_positive(where, rate=rate, b1=b1)
    require_rate(where, "b1", b1)
    require_nonnegative(where, **numbers)
