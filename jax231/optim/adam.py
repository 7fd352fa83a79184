"""Adam: momentum over a running root mean square, both corrected for their start at zero."""

import jax
import optax

from jax231.core.checks import require_nonnegative, require_positive, require_rate
from jax231.optim.dtypes import keep_dtypes


def adam(
    rate: optax.ScalarOrSchedule,
    b1: jax.Array | float = 0.9,
    b2: jax.Array | float = 0.999,
    eps: jax.Array | float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Steps ``x += -rate * m^ / (sqrt(v^) + eps)`` with running means m of g and v of g^2.

    ``m = b1 * m + (1 - b1) * g``, ``v = b2 * v + (1 - b2) * g^2``, and at step t = 1, 2, ...
    ``m^ = m / (1 - b1^t)``, ``v^ = v / (1 - b2^t)``: the first step is `rate` long in every coordinate. As in Optax
    and PyTorch (algorithm 1 of the paper), `eps` stands outside the root of the corrected mean.

    Raises:    ValueError if `rate` is not positive, `eps` negative or a decay outside [0, 1] where they can be seen.
    Source:    Optax (`optax.adam`); Kingma & Ba 2015 (arXiv:1412.6980); CS231n notes, neural-networks-3, "Adam".
    """
    require_positive("adam", rate=rate)
    require_nonnegative("adam", eps=eps)
    require_rate("adam", "b1", b1)
    require_rate("adam", "b2", b2)
    return keep_dtypes(optax.adam(rate, b1, b2, eps))
