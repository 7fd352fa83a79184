"""Stochastic gradient descent."""

import optax

from jax231.core.checks import require_positive
from jax231.optim.dtypes import keep_dtypes


def sgd(rate: optax.ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    """Steps ``x += -rate * g``.

    `rate` is a number, traced or not, or a schedule ``step -> number`` that starts at step 0.

    Raises:    ValueError if `rate` is not positive where it can be seen.
    Source:    Optax (`optax.sgd`); CS231n notes, neural-networks-3, "Vanilla update".
    """
    require_positive("sgd", rate=rate)
    return keep_dtypes(optax.sgd(rate))
