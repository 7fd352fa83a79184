"""Random omission while training: of activations, of weights, of whole layers.

`rate` is everywhere the share that is dropped (0 keeps everything). It may be traced, so sweeping it compiles once; a
concrete rate outside [0, 1] is a ValueError, a traced one gives NaN. Which entries fall is a function of the key alone.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import require, require_floating, require_rate
from jax231.core.precision import statistics_dtype


def dropout(key: Array, x: Float[ArrayLike, "*shape"], rate: ArrayLike) -> Float[Array, "*shape"]:
    """Zero each entry with probability `rate` and divide the others by 1 - rate (inverted dropout).

    The expectation is `x`, so nothing is left to do at test time. Rate 0 is the identity, rate 1 gives zeros.

    Shapes:    (...) -> (...); the dtype of `x` is kept.
    Gradient:  passes through the kept entries, with their factor.
    Raises:    ValueError for a concrete rate outside [0, 1].
    Source:    Srivastava et al. 2014 (JMLR 15); CS231n notes, neural-networks-2.
    """
    return _thin("dropout", key, x, rate, jnp.shape(x))


def drop_path(key: Array, x: Float[ArrayLike, "n *shape"], rate: ArrayLike) -> Float[Array, "n *shape"]:
    """Zero whole examples with probability `rate`, divide the others by 1 - rate: ``x + drop_path(key, f(x), rate)``.

    Every example of the batch draws on its own whether it skips the layer; the expectation is `x`.

    Shapes:    (n, ...) -> (n, ...); the dtype of `x` is kept.
    Raises:    ValueError for a concrete rate outside [0, 1].
    Source:    Larsson, Maire and Shakhnarovich 2016 (arXiv:1605.07648).
    """
    require(jnp.ndim(x) >= 1, "drop_path", "x with a first axis of examples", x=x)
    return _thin("drop_path", key, x, rate, (jnp.shape(x)[0],) + (1,) * (jnp.ndim(x) - 1))


def stochastic_depth(
    key: Array, x: Float[ArrayLike, "*shape"], residual: Float[ArrayLike, "..."], rate: ArrayLike
) -> Float[Array, "*shape"]:
    """Add the residual branch, or drop it with probability `rate` for the whole batch at once.

    ``x + b * residual / (1 - rate)`` with one b in {0, 1}. The paper adds ``b * residual`` in training and multiplies
    by 1 - rate at test; here the factor is in training, as for dropout, and the test-time layer is ``x + residual``.

    Shapes:    x (...), residual the same -> the same.
    Raises:    ValueError for a residual of another shape, and for a concrete rate outside [0, 1].
    Source:    Huang et al. 2016 (arXiv:1603.09382), equation 2.
    """
    same = jnp.shape(x) == jnp.shape(residual)
    require(same, "stochastic_depth", "x and residual of one shape", x=x, residual=residual)
    return jnp.asarray(x) + _thin("stochastic_depth", key, residual, rate, ())


def dropconnect(key: Array, weight: Float[ArrayLike, "*shape"], rate: ArrayLike) -> Float[Array, "*shape"]:
    """Zero each weight with probability `rate`; the others stay as they are.

    Unlike `dropout` this is not rescaled: at test the layer uses the mean weight, `dropconnect_mean`.

    Shapes:    (...) -> (...); one mask for the whole batch (vmap over keys and examples for one mask an example).
    Gradient:  passes through the kept weights.
    Raises:    ValueError for a concrete rate outside [0, 1].
    Source:    Wan et al. 2013 (ICML), section 3.
    """
    weight, rate = _operands("dropconnect", weight, rate)
    return (weight * _mask(key, rate, weight.shape)).astype(weight.dtype)


def dropconnect_mean(weight: Float[ArrayLike, "*shape"], rate: ArrayLike) -> Float[Array, "*shape"]:
    """The mean of `dropconnect` over its masks, ``(1 - rate) * weight``: the weight to use at test.

    The paper samples pre-activations from a Gaussian at test; the mean weight is its first moment.

    Shapes:    (...) -> (...).
    Raises:    ValueError for a concrete rate outside [0, 1].
    """
    weight, rate = _operands("dropconnect_mean", weight, rate)
    return (weight * (1 - rate)).astype(weight.dtype)


def _thin(where: str, key: Array, x: ArrayLike, rate: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Multiply x by a mask of `shape` with expectation one."""
    x, rate = _operands(where, x, rate)
    everything = rate == 1
    factor = jnp.where(everything, 0, 1 / jnp.where(everything, 1, 1 - rate))
    return (x * (_mask(key, rate, shape) * factor)).astype(x.dtype)


def _mask(key: Array, rate: Array, shape: tuple[int, ...]) -> Array:
    """1 where kept, 0 where dropped, NaN everywhere where a traced rate lies outside [0, 1].

    Two entries share a random word, as words cost more than all else here: the rate counts in steps of 2^-16.
    """
    count = math.prod(shape)
    words = jax.random.bits(key, (-(-count // 2),), jnp.uint32)
    halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[:count].reshape(shape)
    dropped = jnp.round(rate * 2**16).astype(jnp.uint32)  # of 2^16 numbers the lowest
    keep = halves.astype(jnp.uint32) >= dropped
    return jnp.where((rate >= 0) & (rate <= 1), keep.astype(rate.dtype), jnp.nan)


def _operands(where: str, x: ArrayLike, rate: ArrayLike) -> tuple[Array, Array]:
    """Both checked; the rate in float32 or wider, since bfloat16 would round 1 / (1 - rate) and the random bits."""
    require_floating(where, x=x)
    require(jnp.ndim(rate) == 0, where, "one rate", rate=rate)
    require_rate(where, "rate", rate)
    x = jnp.asarray(x)
    return x, jnp.asarray(rate, statistics_dtype(x.dtype))
