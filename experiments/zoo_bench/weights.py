"""Initial weights of a benchmark, drawn without compiling anything."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax231.core.types import Model


def drawn(model: Model, seed: int = 231) -> tuple[Any, Any]:
    """Parameters and state: kernels of variance 2 / fan-in, all else as normalisation and biases begin."""
    rng = np.random.default_rng(seed)

    def leaf(path: Any, like: jax.ShapeDtypeStruct) -> jax.Array:
        if like.ndim > 1:
            deviation = math.sqrt(2 / math.prod(like.shape[:-1]))
            return jnp.asarray(deviation * rng.standard_normal(like.shape, np.float32))
        return jnp.full(like.shape, float(path[-1].key in ("scale", "var")), like.dtype)

    return jax.tree_util.tree_map_with_path(leaf, jax.eval_shape(model.init, jax.random.key(0)))
