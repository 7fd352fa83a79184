"""In which type an optimizer computes: that of its parameters, whatever type its numbers have."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jax231.core.precision import statistics_dtype


def keep_dtypes(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """`tx` with its state in float32 at least, and with updates and state that keep their types.

    A traced rate is a strongly typed float32 or float64 scalar and would promote every bfloat16 or float32 leaf that it
    meets, so the state would not map onto its own type and could not be carried by a scan. Narrow gradients are widened
    first, because a second moment of decay 0.999 does not move in bfloat16. For leaves of the right type all casts
    vanish while tracing.

    Shapes:    updates have the dtype of the gradients, the state has the dtypes that ``init`` gave it, none weak.
    """
    tx = optax.with_extra_args_support(tx)

    def init(params):
        return jax.tree.map(lambda x: jnp.asarray(x).astype(jnp.result_type(x)), tx.init(jax.tree.map(_widen, params)))

    def update(updates, state, params=None, **extra: Any):
        steps, new = tx.update(jax.tree.map(_widen, updates), state, params, **extra)
        return _cast_like(steps, updates), _cast_like(new, state)

    return optax.GradientTransformationExtraArgs(init, update)


def _widen(x: jax.Array) -> jax.Array:
    return jnp.asarray(x).astype(statistics_dtype(x.dtype))


def _cast_like(tree: Any, like: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.asarray(x).astype(y.dtype), tree, like)
