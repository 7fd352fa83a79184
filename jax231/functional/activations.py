"""The course's nonlinearities. At a kink each takes the slope of its left side: relu'(0) = 0."""

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.precision import statistics_dtype
from jax231.kernels.first_max import first_max


def sigmoid(x: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """1 / (1 + exp(-x)), without overflow for any x."""
    return lax.logistic(jnp.asarray(x))


def tanh(x: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """Hyperbolic tangent, 2 sigmoid(2x) - 1."""
    return jnp.tanh(x)


def relu(x: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """max(0, x).

    Gradient: 1 for x > 0, 0 for x <= 0. NaN stays NaN.
    """
    x = jnp.asarray(x)
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


def leaky_relu(x: Float[ArrayLike, "*shape"], slope: float | Float[ArrayLike, ""] = 0.01) -> Float[Array, "*shape"]:
    """x where it is positive, ``slope * x`` elsewhere.

    Gradient: `slope` at 0.
    """
    x = jnp.asarray(x)
    return jnp.where(x <= 0, jnp.asarray(slope, x.dtype) * x, x)


def prelu(x: Float[ArrayLike, "*shape"], slope: Float[ArrayLike, "..."]) -> Float[Array, "*shape"]:
    """Leaky ReLU with a learned slope, one for all or one a channel.

    Shapes:   x (..., c), slope () or (c,) -> (..., c).
    Gradient: by x at 0 the slope; by the slope the sum of the x that are negative.
    Raises:   ValueError for a slope of another shape.
    Source:   He et al. 2015 (arXiv:1502.01852), equation 1.
    """
    x, slope = jnp.asarray(x), jnp.asarray(slope)
    require(slope.shape in ((), x.shape[-1:]), "prelu", "slope () or one a channel", x=x, slope=slope)
    negative = x <= 0
    y = jnp.where(negative, slope * jnp.where(negative, x, 0), x)  # an infinite x must not reach the slope's gradient
    return y.astype(x.dtype)


def elu(x: Float[ArrayLike, "*shape"], alpha: float | Float[ArrayLike, ""] = 1.0) -> Float[Array, "*shape"]:
    """x where it is positive, ``alpha * (exp(x) - 1)`` elsewhere.

    Gradient: `alpha` at 0; finite for every finite x.
    Source:   Clevert et al. 2016 (arXiv:1511.07289).
    """
    x = jnp.asarray(x)
    negative = x <= 0
    tail = jnp.expm1(jnp.where(negative, x, 0))  # a large x would make the gradient 0 * inf
    return jnp.where(negative, jnp.asarray(alpha, x.dtype) * tail, x)


def maxout(x: Float[ArrayLike, "..."], pieces: int) -> Float[Array, "..."]:
    """Keep the largest of `pieces` neighbouring pre-activations for every unit.

    Unit ``u`` reads entries ``u * pieces`` up to ``(u + 1) * pieces - 1`` of the last axis, so one affine
    map feeds all pieces: a maxout layer is ``maxout(affine(x, w, b), pieces)``.

    Shapes:   (..., units * pieces) -> (..., units); the dtype of `x` is kept.
    Gradient: goes to the winning piece, the first of them on an exact tie. NaN stays NaN.
    Raises:   ValueError if `pieces` is below 1 or does not divide the last axis.
    Source:   Goodfellow et al. 2013 (arXiv:1302.4389); CS231n notes, neural-networks-1.
    """
    x = jnp.asarray(x)
    fits = x.ndim >= 1 and pieces >= 1 and x.shape[-1] % pieces == 0
    require(fits, "maxout", "the last axis to be a multiple of pieces", x=x, pieces=pieces)
    return first_max([x[..., piece::pieces] for piece in range(pieces)])


def softmax(x: Float[ArrayLike, "*shape"], axis: int = -1) -> Float[Array, "*shape"]:
    """Probabilities ``exp(x) / sum(exp(x))`` along `axis`; narrow types are summed in float32.

    Shifted by the largest entry, which changes nothing but keeps exp from overflowing.
    """
    x = jnp.asarray(x)
    e = jnp.exp(_shifted_below_zero(x, axis))
    return (e / jnp.sum(e, axis, keepdims=True)).astype(x.dtype)


def log_softmax(x: Float[ArrayLike, "*shape"], axis: int = -1) -> Float[Array, "*shape"]:
    """Logarithm of `softmax` along `axis`, exact where the probability itself is 0 in floating point."""
    x = jnp.asarray(x)
    z = _shifted_below_zero(x, axis)
    return (z - jnp.log(jnp.sum(jnp.exp(z), axis, keepdims=True))).astype(x.dtype)


def _shifted_below_zero(x: Array, axis: int) -> Array:
    x = x.astype(statistics_dtype(x.dtype))
    return x - lax.stop_gradient(jnp.max(x, axis, keepdims=True))  # the shift cancels, so its gradient is zero
