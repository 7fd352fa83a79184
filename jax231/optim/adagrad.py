"""AdaGrad: steps divided by the root of the sum of all squared gradients so far."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jax231.core.checks import require_nonnegative, require_positive
from jax231.core.types import PyTree
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.root import divide_by_root


class SumOfSquares(NamedTuple):
    """The initial accumulator plus all squared gradients so far."""

    square: PyTree


def adagrad(
    rate: optax.ScalarOrSchedule,
    *,
    initial_accumulator: jax.Array | float = 0.0,
    eps: jax.Array | float = 1e-7,
    eps_inside_root: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Steps ``s = s + g^2;  x += -rate * g / (sqrt(s) + eps)`` from ``s = initial_accumulator``.

    ``eps_inside_root=True`` divides by ``sqrt(s + eps)`` instead. The conventions in use:

    ========  ===================  =====  ===============
    whose     initial_accumulator  eps    eps_inside_root
    ========  ===================  =====  ===============
    course    0                    1e-7   False (default)
    Optax     0.1                  1e-7   True
    PyTorch   0                    1e-10  False
    ========  ===================  =====  ===============

    An entry whose gradient has always been zero does not move.

    Raises:    ValueError if `rate` is not positive, `initial_accumulator` or `eps` negative where they can be seen.
    Source:    Duchi et al. 2011; CS231n notes, neural-networks-3, "Adagrad".
    """
    require_positive("adagrad", rate=rate)
    require_nonnegative("adagrad", initial_accumulator=initial_accumulator, eps=eps)
    inside, outside = (eps, 0.0) if eps_inside_root else (0.0, eps)

    def init(params):
        return SumOfSquares(jax.tree.map(lambda x: jnp.full_like(x, initial_accumulator), params))

    def update(updates, state, params=None):
        square = jax.tree.map(lambda s, g: s + g * g, state.square, updates)
        return jax.tree.map(lambda g, s: divide_by_root(g, s, inside, outside), updates, square), SumOfSquares(square)

    normalise = optax.GradientTransformation(init, update)
    return keep_dtypes(optax.chain(normalise, optax.scale_by_learning_rate(rate)))
