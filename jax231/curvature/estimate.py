"""Means over random probes, with their standard errors."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax231.core.types import Key, PyTree


class Estimate(NamedTuple):
    """A mean over probes and its standard error, two trees of the same structure."""

    value: PyTree
    error: PyTree
    """The sample's standard deviation over the root of the number of probes; NaN for a single probe."""


def mean(values: PyTree) -> Estimate:
    """The mean over the leading axis of every leaf."""

    def error(x: jax.Array) -> jax.Array:
        return _standard_error(jnp.square(x - x.mean(0)).sum(0), x.shape[0])

    return Estimate(jax.tree.map(lambda x: x.mean(0), values), jax.tree.map(error, values))


def running_mean(sample: Callable[[Key], PyTree], keys: Key) -> Estimate:
    """The mean of what `sample` makes of each key, taken one by one, so that memory does not grow with their number.

    Source:  Welford 1962.
    """
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(sample, keys[0]))

    def add(carry: tuple[PyTree, PyTree], row: tuple[jax.Array, Key]) -> tuple[tuple[PyTree, PyTree], None]:
        (middle, squares), (count, key) = carry, row
        value = sample(key)
        new = jax.tree.map(lambda m, x: m + (x - m) / count.astype(m.dtype), middle, value)
        squares = jax.tree.map(lambda s, m, n, x: s + (x - m) * (x - n), squares, middle, new, value)
        return (new, squares), None

    count = keys.shape[0]
    (middle, squares), _ = jax.lax.scan(add, (zeros, zeros), (1 + jnp.arange(count), keys))
    return Estimate(middle, jax.tree.map(lambda s: _standard_error(s, count), squares))


def _standard_error(squares: jax.Array, count: int) -> jax.Array:
    """From the sum of squared deviations; 0 / 0 for a single value."""
    return jnp.sqrt(squares / jnp.asarray(count * (count - 1), squares.dtype))
