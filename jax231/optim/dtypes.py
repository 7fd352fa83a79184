"""In which type an optimizer computes: that of its parameters, whatever type its numbers have."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.precision import statistics_dtype
from jax231.core.types import PyTree
from jax231.optim.objective import seen_through


def keep_dtypes(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """`tx` with its state in float32 at least, and with updates and state that keep their types.

    A traced rate is a strongly typed float32 or float64 scalar and would promote every bfloat16 or float32 leaf that it
    meets, so the state would not map onto its own type and could not be carried by a scan. Narrow gradients and
    parameters are widened first, because a second moment of decay 0.999 does not move in bfloat16; the objective still
    sees parameters of their own types. For leaves of the right type all casts vanish while tracing.

    Shapes:    updates have the dtype of the gradients, the state has the dtypes that ``init`` gave it, none weak, and
               no leaf of it shares its memory with the parameters, so both may be donated.
    Raises:    ValueError in ``init`` for parameters that are not of a floating type.
    """
    tx = optax.with_extra_args_support(tx)

    def init(params):
        require_floating_leaves("optimizer", params)
        return jax.tree.map(lambda x: x.copy() if _is_key(x) else jnp.array(x, x.dtype), tx.init(_widen(params)))

    def update(updates, state, params=None, **extra: Any):
        if params is not None:
            extra = seen_through(extra, lambda wide: _cast_like(wide, params))
        steps, new = tx.update(_widen(updates), state, _widen(params), **extra)
        return _cast_like(steps, updates), _cast_like(new, state)

    return optax.GradientTransformationExtraArgs(init, update)


def require_floating_leaves(where: str, params: PyTree) -> None:
    """Every parameter has a floating type: whole numbers have no gradient to follow."""
    for name, x in zip(tree.names(params), jax.tree.leaves(params), strict=True):
        dtype = jnp.result_type(x)
        floating = jnp.issubdtype(dtype, jnp.floating)
        require(floating, where, "parameters of a floating type", **{name or "params": x}, dtype=str(dtype))


def _widen(values: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.asarray(x).astype(statistics_dtype(jnp.result_type(x))), values)


def _cast_like(values: PyTree, like: PyTree) -> PyTree:
    return jax.tree.map(lambda x, y: x if _is_key(y) else jnp.asarray(x).astype(y.dtype), values, like)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
