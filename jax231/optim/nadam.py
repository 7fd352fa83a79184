"""NAdam: Adam whose momentum looks ahead as Nesterov's does."""

import jax
import optax

from jax231.core.checks import require_nonnegative, require_positive, require_rate
from jax231.optim.dtypes import keep_dtypes


def nadam(
    rate: optax.ScalarOrSchedule,
    b1: jax.Array | float = 0.9,
    b2: jax.Array | float = 0.999,
    eps: jax.Array | float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Steps ``x += -rate * m~ / (sqrt(v^) + eps)`` with ``m~ = b1 * m / (1 - b1^(t+1)) + (1 - b1) * g / (1 - b1^t)``.

    m, v and v^ are Adam's. PyTorch keeps the paper's schedule of b1, ``b1 * (1 - 0.5 * 0.96^(t * momentum_decay))``,
    which Optax leaves out: the two are equal where `momentum_decay` is so large that b1 is constant.

    Raises:    ValueError if `rate` is not positive, `eps` negative or a decay outside [0, 1] where they can be seen.
    Source:    Optax (`optax.nadam`); Dozat 2016, "Incorporating Nesterov momentum into Adam", algorithm 2.
    """
    require_positive("nadam", rate=rate)
    require_nonnegative("nadam", eps=eps)
    require_rate("nadam", "b1", b1)
    require_rate("nadam", "b2", b2)
    return keep_dtypes(optax.nadam(rate, b1, b2, eps))
