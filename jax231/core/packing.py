"""Scalars of several types as one vector, to come from a device at once."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def packed(scalars: Sequence[Array]) -> Float[Array, " scalars"]:
    """`scalars`, of one floating type of 4 or 8 bytes, of int32 or booleans, as a vector of that type.

    Of 8 bytes it holds the others as numbers, which it does exactly, of 4 bytes by their bits.
    """
    kind = next(x.dtype for x in scalars if jnp.issubdtype(x.dtype, jnp.floating))

    def number(x: Array) -> Array:
        whole = x.astype(jnp.int32) if x.dtype != kind else x
        same = whole.dtype == kind
        return (
            whole if same else whole.astype(kind) if kind.itemsize == 8 else jax.lax.bitcast_convert_type(whole, kind)
        )

    return jnp.stack([number(x) for x in scalars])


def packable(types: Sequence[Any]) -> bool:
    """Whether there is a vector for scalars of these types."""
    kinds = {np.dtype(kind) for kind in types}
    return len(kinds - {np.dtype(bool), np.dtype(np.int32)}) == 1 and kinds & {np.dtype("f4"), np.dtype("f8")} != set()


def unpacked(vector: np.ndarray, types: Sequence[Any]) -> list[Any]:
    """The scalars as NumPy's, in their `types`."""
    others = vector if vector.itemsize == 8 else vector.view(np.int32)
    return [vector[i] if kind == vector.dtype else kind.type(others[i]) for i, kind in enumerate(types)]
