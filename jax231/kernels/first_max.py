"""The maximum whose gradient goes to the first of equal values: one rule for maxout and max pooling."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array


def first_max(values: Sequence[Array]) -> Array:
    """Largest of several arrays, entry by entry.

    Gradient: whole to the first array that holds the maximum (`jnp.max` shares it among equals), in forward and reverse
              mode alike; second derivatives are zero. NaN stays NaN, its gradient goes to the first NaN.
    """
    best, *rest = values
    for value in rest:
        best = jnp.where(_beats(value, best), value, best)
    return best


def first_max_with_places(values: Sequence[Array], places: Sequence[Array]) -> tuple[Array, Array]:
    """`first_max` of `values`, and of `places` the entry that belongs to the winner."""
    (best, *rest), (place, *others) = values, places
    for value, other in zip(rest, others, strict=True):
        wins = _beats(value, best)
        best, place = jnp.where(wins, value, best), jnp.where(wins, other, place)
    return best, place


def _beats(value: Array, best: Array) -> Array:
    return (value > best) | (jnp.isnan(value) & ~jnp.isnan(best))
