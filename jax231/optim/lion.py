"""Lion: the sign of a momentum, so that every coordinate moves by the same amount."""

import jax
import optax

from jax231.core.checks import require_nonnegative, require_positive, require_rate
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.paths import Chosen, everything, mask


def lion(
    rate: optax.ScalarOrSchedule,
    b1: jax.Array | float = 0.9,
    b2: jax.Array | float = 0.99,
    *,
    weight_decay: jax.Array | float = 1e-3,
    decayed: Chosen = everything,
) -> optax.GradientTransformationExtraArgs:
    """Steps ``x += -rate * (sign(b1 * m + (1 - b1) * g) + weight_decay * x)``, then ``m = b2 * m + (1 - b2) * g``.

    Half of Adam's memory. Its steps do not shrink with the gradient: rates are 3 to 10 times smaller than Adam's, and
    it needs a schedule to come to rest. Where a gradient has always been zero the sign is 0.

    Raises:    ValueError if `rate` is not positive, `weight_decay` negative or a decay outside [0, 1] where they can
               be seen.
    Source:    Optax (`optax.lion`); Chen et al. 2023 (arXiv:2302.06675), algorithm 2.
    """
    require_positive("lion", rate=rate)
    require_nonnegative("lion", weight_decay=weight_decay)
    require_rate("lion", "b1", b1)
    require_rate("lion", "b2", b2)
    return keep_dtypes(optax.lion(rate, b1, b2, weight_decay=weight_decay, mask=mask(decayed)))
