"""AdamW: Adam, with the weights decayed beside the normalised gradient instead of through it."""

import jax
import optax

from jax231.core.checks import require_nonnegative, require_positive, require_rate
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.paths import Chosen, everything, mask


def adamw(
    rate: optax.ScalarOrSchedule,
    b1: jax.Array | float = 0.9,
    b2: jax.Array | float = 0.999,
    eps: jax.Array | float = 1e-8,
    *,
    weight_decay: jax.Array | float = 1e-2,
    decayed: Chosen = everything,
) -> optax.GradientTransformationExtraArgs:
    """Steps ``x += -rate * (m^ / (sqrt(v^) + eps) + weight_decay * x)`` with m^ and v^ as in Adam.

    An L2 penalty would be divided by the root as well, and decay least what has large gradients. As in Optax and
    PyTorch the decay is multiplied by the rate. The default is PyTorch's; Optax's is 1e-4. `decayed` tells by its name
    which parameter decays, as `paths.kernels` does.

    Raises:    ValueError if `rate` is not positive, `eps` or `weight_decay` negative or a decay outside [0, 1] where
               they can be seen.
    Source:    Optax (`optax.adamw`); Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2.
    """
    require_positive("adamw", rate=rate)
    require_nonnegative("adamw", eps=eps, weight_decay=weight_decay)
    require_rate("adamw", "b1", b1)
    require_rate("adamw", "b2", b2)
    return keep_dtypes(optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=mask(decayed)))
