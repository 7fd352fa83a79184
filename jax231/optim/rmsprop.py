"""RMSProp: steps divided by a running root mean square of the gradient."""

import jax
import optax

from jax231.core.checks import require_nonnegative, require_positive, require_rate
from jax231.optim.dtypes import keep_dtypes


def rmsprop(
    rate: optax.ScalarOrSchedule,
    decay: jax.Array | float = 0.9,
    eps: jax.Array | float = 1e-8,
    *,
    eps_inside_root: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Steps ``v = decay * v + (1 - decay) * g^2;  x += -rate * g / sqrt(v + eps)`` from v = 0.

    By default `eps` stands inside the root as in Optax, where 1e-8 bounds the denominator by 1e-4 from below;
    ``eps_inside_root=False`` gives the course's and PyTorch's ``sqrt(v) + eps``. The average is not corrected
    for its start at 0, so the first step is ``1 / sqrt(1 - decay)`` times longer than `rate`.

    Raises:    ValueError if `rate` is not positive, `eps` negative or `decay` outside [0, 1] where they can be seen.
    Source:    Optax (`optax.rmsprop`); Hinton 2012, lecture 6e; CS231n notes, neural-networks-3, "RMSprop".
    """
    require_positive("rmsprop", rate=rate)
    require_nonnegative("rmsprop", eps=eps)
    require_rate("rmsprop", "decay", decay)
    return keep_dtypes(optax.rmsprop(rate, decay, eps, eps_in_sqrt=eps_inside_root))
