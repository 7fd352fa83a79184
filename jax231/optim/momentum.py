"""Gradient descent with (heavy-ball) momentum."""

import jax
import optax

from jax231.core.checks import require_positive, require_rate
from jax231.optim.dtypes import keep_dtypes


def momentum(rate: optax.ScalarOrSchedule, decay: jax.Array | float = 0.9) -> optax.GradientTransformationExtraArgs:
    """Steps ``v = decay * v + g;  x += -rate * v`` from v = 0.

    Optax keeps the rate outside the velocity; the course keeps it inside (``v = mu * v - rate * g;  x += v``). At a
    constant rate both take the same steps. When a schedule lowers the rate, this form slows down at once, whereas
    the course's velocity still carries the old rate. Neither damps the gradient by ``1 - decay``, so the rate in effect
    is up to ``rate / (1 - decay)``.

    Raises:    ValueError if `rate` is not positive or `decay` outside [0, 1] where they can be seen.
    Source:    Optax (`optax.sgd` with `momentum`); Polyak 1964; CS231n notes, neural-networks-3, "Momentum update".
    """
    require_positive("momentum", rate=rate)
    require_rate("momentum", "decay", decay)
    return keep_dtypes(optax.sgd(rate, momentum=decay))
