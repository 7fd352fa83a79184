"""Normalisation: of each channel over the batch, of each example over its features, of each place over its channels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import is_concrete, require, require_floating, require_rate
from jax231.core.precision import statistics_dtype
from jax231.core.types import Scalar
from jax231.kernels.normalization import normalize


def batch_norm_train(
    x: Float[ArrayLike, "*batch c"],
    scale: ArrayLike,
    bias: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    *,
    momentum: Scalar = 0.9,
    eps: Scalar = 1e-5,
    relu: bool = False,
) -> tuple[Float[Array, "*batch c"], Float[Array, "c"], Float[Array, "c"]]:
    """Normalise every channel by the statistics of this batch; return (y, new_mean, new_var).

    ``y = scale * (x - m) / sqrt(v + eps) + bias`` with the mean m and the biased variance v of the batch over all axes
    but the last, so that one function serves dense (n, c) and spatial (n, h, w, c) inputs. The running statistics are
    what `batch_norm_eval` uses later:

        new_mean = momentum * mean + (1 - momentum) * m
        new_var  = momentum * var  + (1 - momentum) * v * count / (count - 1)

    The running variance is the unbiased one, as in the paper and in PyTorch (Flax and Keras keep the biased one).
    `momentum` is the share of the old value that is kept; PyTorch's argument of that name is 1 minus ours. With `relu`
    y is the positive part, formed in the same pass over memory.

    Shapes:    x (..., c); scale, bias, mean, var (c,) -> y like x, new_mean and new_var like mean and var, in their
               own dtypes; statistics are formed in float32 for bfloat16 and float16.
    Gradient:  flows through m and v into x; the running statistics are constants for every derivative.
    Raises:    ValueError where a channel has fewer than two values: with one, y would be `bias` whatever x is.
    Source:    Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithms 1 and 2.
    """
    where = "batch_norm_train"
    require_rate(where, "momentum", momentum)
    x = jnp.asarray(x)
    _require_channels(where, x, scale=scale, bias=bias, mean=mean, var=var)
    count = x.size // x.shape[-1] if x.shape[-1] else 0
    require(count >= 2, where, "at least two values of each channel", x=x, values=count)
    wide = statistics_dtype(x.dtype)
    y, m, v = normalize(x.astype(wide), *(jnp.asarray(a, wide) for a in (scale, bias, eps)), relu=relu)
    m, v = jax.lax.stop_gradient((m, v * (count / (count - 1))))
    return y.astype(x.dtype), _running(mean, m, momentum), _running(var, v, momentum)


def batch_norm_eval(
    x: Float[ArrayLike, "*batch c"],
    scale: ArrayLike,
    bias: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    *,
    eps: Scalar = 1e-5,
) -> Float[Array, "*batch c"]:
    """Normalise every channel by fixed statistics: ``scale * (x - mean) / sqrt(var + eps) + bias``.

    Shapes:    x (..., c); scale, bias, mean, var (c,) -> like x.
    Source:    Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithm 2.
    """
    x = jnp.asarray(x)
    _require_channels("batch_norm_eval", x, scale=scale, bias=bias, mean=mean, var=var)
    mean, var = (jnp.asarray(s, statistics_dtype(x.dtype, jnp.result_type(s))) for s in (mean, var))
    return _affine((x - mean) * jax.lax.rsqrt(var + eps), scale, bias).astype(x.dtype)


def layer_norm(
    x: Float[ArrayLike, "*batch d"], scale: ArrayLike, bias: ArrayLike, *, eps: Scalar = 1e-5
) -> Float[Array, "*batch d"]:
    """Normalise every vector along the last axis by its own mean and biased variance, then scale and shift.

    Shapes:    x (..., d); scale, bias (d,) -> like x; statistics in float32 for bfloat16 and float16.
    Source:    Ba, Kiros and Hinton 2016 (arXiv:1607.06450).
    """
    x = jnp.asarray(x)
    _require_channels("layer_norm", x, scale=scale, bias=bias)
    return _affine(_standardize(x, (-1,), eps), scale, bias).astype(x.dtype)


def group_norm(
    x: Float[ArrayLike, "n *space c"], scale: ArrayLike, bias: ArrayLike, groups: int, *, eps: Scalar = 1e-5
) -> Float[Array, "n *space c"]:
    """Normalise each group of neighbouring channels of each example over the group and over space.

    One group is layer norm over the whole example, as many groups as channels is instance norm.

    Shapes:    x (n, ..., c); scale, bias (c,) -> like x; statistics in float32 for bfloat16 and float16.
    Raises:    ValueError if `groups` does not divide the channels.
    Source:    Wu and He 2018 (arXiv:1803.08494).
    """
    x = jnp.asarray(x)
    _require_channels("group_norm", x, scale=scale, bias=bias)
    channels = x.shape[-1]
    fits = groups >= 1 and channels % groups == 0
    require(fits, "group_norm", "the last axis to be a multiple of groups", x=x, groups=groups)
    split = x.reshape(*x.shape[:-1], groups, channels // groups)
    normal = _standardize(split, (*range(1, x.ndim - 1), -1), eps)
    return _affine(normal.reshape(x.shape), scale, bias).astype(x.dtype)


def local_response_norm(
    x: Float[ArrayLike, "*batch c"],
    *,
    size: int = 5,
    k: Scalar = 2.0,
    alpha: Scalar = 1e-4,
    beta: Scalar = 0.75,
) -> Float[Array, "*batch c"]:
    """Divide every activation by a power of the energy in the `size` channels around it, at the same place.

    ``y_i = x_i / (k + alpha * sum_j x_j**2) ** beta``, j over the channels within size // 2 of i; at the borders the
    window is cut. `alpha` multiplies the sum, as in the paper; Caffe and PyTorch multiply the sum by alpha / size, so
    their alpha is `size` times ours.

    Shapes:    (..., c) -> (..., c); the power in float32 for bfloat16 and float16.
    Raises:    ValueError for an even `size` (its window has no centre) and for ``k <= 0``, where an empty window
               divides by zero.
    Source:    Krizhevsky, Sutskever and Hinton 2012 (AlexNet), section 3.3.
    """
    where = "local_response_norm"
    require_floating(where, x=x)
    require(size >= 1 and size % 2 == 1, where, "an odd size", size=size)
    require(not is_concrete(k) or bool(np.asarray(k) > 0), where, "k above zero", k=k)
    x = jnp.asarray(x)
    wide = x.astype(statistics_dtype(x.dtype))
    channels, reach = x.shape[-1], size // 2
    squares = jnp.pad(wide * wide, [(0, 0)] * (x.ndim - 1) + [(reach, reach)])
    energy = sum(squares[..., shift : shift + channels] for shift in range(size))
    return (wide * (k + alpha * energy) ** -beta).astype(x.dtype)


def _standardize(x: Array, axes: Sequence[int], eps: Scalar) -> Array:
    """Zero mean and unit variance over `axes`."""
    x = x.astype(statistics_dtype(x.dtype))
    mean = x.mean(axes, keepdims=True)
    centred = x - mean  # two passes: E[x^2] - E[x]^2 cancels where the mean is large
    var = (centred * centred).mean(axes, keepdims=True)
    return centred * jax.lax.rsqrt(var + eps)


def _affine(normal: Array, scale: ArrayLike, bias: ArrayLike) -> Array:
    return normal * jnp.asarray(scale) + jnp.asarray(bias)


def _running(old: ArrayLike, new: Array, momentum: Scalar) -> Array:
    old = jnp.asarray(old)
    return jax.lax.stop_gradient((momentum * old + (1 - momentum) * new).astype(old.dtype))


def _require_channels(where: str, x: Array, **vectors: ArrayLike) -> None:
    require_floating(where, x=x)
    for name, vector in vectors.items():
        fits = jnp.ndim(x) >= 1 and jnp.shape(vector) == (x.shape[-1],)
        require(fits, where, f"{name} with one entry for each entry of the last axis of x", x=x, **{name: vector})
