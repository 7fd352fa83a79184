"""Averages of the parameters along a run: Polyak's mean of all of them, and a forgetting one.

Use the average at test time, while training goes on from the parameters themselves. Means are in float32 at least: in
bfloat16 a mean of thousands would stop moving.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.checks import require_rate
from jax231.core.precision import statistics_dtype
from jax231.core.types import PyTree, Scalar


class Average(NamedTuple):
    """The mean of the parameters seen so far, corrected for its start, and the sum of their weights."""

    mean: PyTree
    weight: Float[Array, ""]


def start(params: PyTree) -> Average:
    """The average of nothing yet, for parameters like `params`: zeros of no weight."""
    zeros = jax.tree.map(lambda x: jnp.zeros(jnp.shape(x), statistics_dtype(jnp.result_type(x))), params)
    return Average(zeros, jnp.zeros(()))


def polyak(average: Average, params: PyTree) -> Average:
    """The mean of all parameters so far, `params` included, each of the same weight.

    Source: Polyak & Juditsky 1992; CS231n lecture 7, "Model ensembles: tips and tricks".
    """
    return _towards(average, params, average.weight + 1, 1.0)


def ema(average: Average, params: PyTree, decay: Scalar = 0.999) -> Average:
    """The exponential moving average: the last parameters weigh ``1 - decay``, those before them `decay` times less.

    The mean is divided by the sum of the weights, ``1 - decay^t``, so that it does not lean towards the zeros of its
    start: after one step it is the first parameters. `decay` may change from step to step.

    Raises: ValueError if `decay` is outside [0, 1] where it can be seen.
    Source: Kingma & Ba 2015 (arXiv:1412.6980), sections 3 and 7.2.
    """
    require_rate("ema", "decay", decay)
    return _towards(average, params, decay * average.weight + (1 - decay), 1 - decay)


def value(average: Average, params: PyTree) -> PyTree:
    """The mean in the types of `params`."""
    return jax.tree.map(lambda mean, like: mean.astype(jnp.result_type(like)), average.mean, params)


def _towards(average: Average, params: PyTree, weight: Array, newest: Scalar) -> Average:
    """The mean moved by the share of the newest parameters in the new sum of weights."""
    share = jnp.where(weight > 0, newest / jnp.where(weight > 0, weight, 1), 0)
    mean = jax.tree.map(lambda m, x: (m + share * (x - m)).astype(m.dtype), average.mean, params)
    return Average(mean, jnp.asarray(weight).astype(average.weight.dtype))
