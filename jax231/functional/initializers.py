"""First values of the weights: every name builds an initializer, a function ``(key, shape, dtype=float) -> array``.

``he()(key, (3, 3, 64, 128))`` draws a kernel. Fans are read off the shape, whose last axis counts the outputs:
(d, units) of an affine map, (kh, kw, cin, cout) of a convolution. bfloat16 and float16 values are drawn in float32 and
rounded.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.precision import statistics_dtype
from jax231.core.types import Key

DISTRIBUTIONS = ("normal", "uniform")


@runtime_checkable
class Initializer(Protocol):
    """``(key, shape, dtype=float) -> array``; `float` is float64 where 64-bit types are on and float32 elsewhere."""

    def __call__(self, key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        """The first value of a parameter."""
        ...


def zeros() -> Initializer:
    """Every entry 0: for biases. Weights of 0 never break the symmetry between the units of a layer.

    Source:  CS231n notes, neural-networks-2.
    """

    def init(key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        del key
        return jnp.zeros(shape, dtype)

    return init


def constant(value: float) -> Initializer:
    """Every entry `value`: for biases that keep ReLUs alive at the start, or an LSTM's forget gate open.

    Source:  CS231n notes, neural-networks-2; Krizhevsky et al. 2012, section 5 (biases of 1).
    """

    def init(key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        del key
        return jnp.full(shape, value, dtype)

    return init


def gaussian(std: float = 0.01) -> Initializer:
    """Normal with mean 0 and standard deviation `std`, whatever the shape.

    Through ten tanh layers activations die with the course's 0.01 and saturate with its 1.0.

    Raises:  ValueError if `std` is negative.
    Source:  CS231n notes, neural-networks-2.
    """
    require(std >= 0, "gaussian", "a standard deviation of at least 0", std=std)

    def init(key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        return _draw(key, shape, dtype, std**2, "normal")

    return init


def xavier() -> Initializer:
    """Normal with variance ``1 / fan_in``: the variance of a layer's inputs is that of its outputs (tanh near 0).

    This is the course's form; Glorot and Bengio's, which weighs the backward pass as well, is `glorot`.

    Raises:  (the initializer) ValueError for a shape with fewer than two axes or an empty one.
    Source:  CS231n notes, neural-networks-2.
    """

    def init(key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        fan_in, _ = _fans("xavier", shape)
        return _draw(key, shape, dtype, 1 / fan_in, "normal")

    return init


def glorot(distribution: str = "normal") -> Initializer:
    """Variance ``2 / (fan_in + fan_out)``, a compromise between the forward and the backward pass.

    Raises:  ValueError for another distribution; (the initializer) for a shape with fewer than two axes or an empty
             one.
    Source:  Glorot and Bengio 2010, equations 12 and 16.
    """
    known = distribution in DISTRIBUTIONS
    require(known, "glorot", f"a distribution among {', '.join(DISTRIBUTIONS)}", distribution=distribution)

    def init(key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        return _draw(key, shape, dtype, 2 / sum(_fans("glorot", shape)), distribution)

    return init


def he() -> Initializer:
    """Normal with variance ``2 / fan_in``: as `xavier`, for the half of the units that ReLU leaves alive.

    Raises:  (the initializer) ValueError for a shape with fewer than two axes or an empty one.
    Source:  He et al. 2015 (arXiv:1502.01852), equation 10.
    """

    def init(key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        fan_in, _ = _fans("he", shape)
        return _draw(key, shape, dtype, 2 / fan_in, "normal")

    return init


def orthogonal(gain: float = 1.0) -> Initializer:
    """`gain` times a random orthogonal matrix, uniform over the orthogonal group (Haar).

    A kernel counts as the matrix (kh * kw * cin, cout); the shorter side of the matrix is orthonormal.

    Raises:  (the initializer) ValueError for a shape with fewer than two axes or an empty one.
    Source:  Saxe et al. 2014 (arXiv:1312.6120); Mezzadri 2007 (arXiv:math-ph/0609050) for the signs.
    """

    def init(key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        fan_in, _ = _fans("orthogonal", shape)
        rows, columns = fan_in, shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        q, r = jnp.linalg.qr(jax.random.normal(key, tall, statistics_dtype(dtype)))
        q = q * jnp.where(jnp.diagonal(r) < 0, -1, 1)  # without it Q follows the signs that the factorization picks
        return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(dtype)

    return init


def identity(scale: float = 1.0) -> Initializer:
    """`scale` times the identity, for the recurrent matrix of a ReLU network, which so starts by remembering.

    Raises:  (the initializer) ValueError for a shape that is not that of a square matrix.
    Source:  Le, Jaitly and Hinton 2015 (arXiv:1504.00941), section 2.
    """

    def init(key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        del key
        square = len(shape) == 2 and shape[0] == shape[1]
        require(square, "identity", "the shape (h, h) of a square matrix", shape=tuple(shape))
        return (scale * jnp.eye(shape[0], dtype=statistics_dtype(dtype))).astype(dtype)

    return init


def bilinear() -> Initializer:
    """Bilinear interpolation by a transposed convolution: kernels (2 f, 2 f, c, c) for stride f, channels kept apart.

    The entries of a kernel fall linearly from its middle; on every pixel that is f or more away from the edge lie
    entries with the sum 1.

    Raises:  (the initializer) ValueError for a shape other than (kh, kw, c, c).
    Source:  Long, Shelhamer and Darrell 2015 (arXiv:1411.4038), section 3.3.
    """

    def init(key: Key, shape: Sequence[int], dtype: DTypeLike = float) -> Float[Array, "..."]:
        del key
        fits = len(shape) == 4 and shape[2] == shape[3]
        require(fits, "bilinear", "the shape (kh, kw, c, c) of a transposed convolution's kernel", shape=tuple(shape))
        rows, columns = (_falling(size, statistics_dtype(dtype)) for size in shape[:2])
        window = rows[:, None] * columns
        return (window[:, :, None, None] * jnp.eye(shape[2], dtype=window.dtype)).astype(dtype)

    return init


def _falling(size: int, dtype: DTypeLike) -> Array:
    factor = (size + 1) // 2
    return 1 - jnp.abs(jnp.arange(size, dtype=dtype) - (size - 1) / 2) / factor


def _fans(where: str, shape: Sequence[int]) -> tuple[int, int]:
    fits = len(shape) >= 2 and min(shape) >= 1
    require(fits, where, "a shape with two or more axes, none empty, (d, units) or (kh, kw, cin, cout)", shape=shape)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _draw(key: Key, shape: Sequence[int], dtype: DTypeLike, variance: float, distribution: str) -> Array:
    wide = statistics_dtype(dtype)
    if distribution == "normal":
        values = math.sqrt(variance) * jax.random.normal(key, shape, wide)
    else:
        limit = math.sqrt(3 * variance)
        values = jax.random.uniform(key, shape, wide, -limit, limit)
    return values.astype(dtype)
