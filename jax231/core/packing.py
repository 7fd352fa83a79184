"""Scalars of several types as one vector, to come from a device at once."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def packed(scalars: Sequence[Array]) -> Float[Array, " scalars"]:
    """`scalars`, first those of one floating type of 4 or 8 bytes, then int32 or booleans, as a vector of that type.

    Of 8 bytes it holds the others as numbers, which it does exactly, of 4 bytes by their bits.
    """
    kind = scalars[0].dtype

    def number(x: Array) -> Array:
        whole = x.astype(jnp.int32) if x.dtype != kind else x
        same = whole.dtype == kind
        return (
            whole if same else whole.astype(kind) if kind.itemsize == 8 else jax.lax.bitcast_convert_type(whole, kind)
        )

    return jnp.stack([number(x) for x in scalars])


def packable(types: Sequence[Any]) -> bool:
    """Whether there is a vector for scalars of these types."""
    kinds = [np.dtype(kind) for kind in types]
    first = [kind for kind in kinds if kind == kinds[0]]
    others = kinds[len(first) :]
    return kinds[0] in (np.float32, np.float64) and all(kind in (np.int32, np.bool_) for kind in others)


def unpacked(vector: np.ndarray, types: Sequence[np.dtype]) -> list[Any]:
    """The scalars as NumPy's, in their `types`."""
    letters = [kind.char for kind in types]  # types are compared in a tenth of the time so
    first = letters.count(vector.dtype.char)
    others = vector[first:]
    whole = others.astype(np.int32) if vector.itemsize == 8 else others.view(np.int32)
    return [
        *vector[:first],
        *(x != 0 if letter == "?" else x for x, letter in zip(whole, letters[first:], strict=True)),
    ]
