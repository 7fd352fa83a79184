"""In which type statistics, sums and losses are formed."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def statistics_dtype(*dtypes: DTypeLike) -> jnp.dtype:
    """float32 for bfloat16 and float16 inputs, the promoted type itself for float32 and float64."""
    dtype = jnp.result_type(*dtypes)
    return jnp.promote_types(dtype, jnp.float32) if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


def highest():
    """A context in which matrix products use full precision: no TF32 or bfloat16 passes on an accelerator."""
    return jax.default_matmul_precision("highest")
