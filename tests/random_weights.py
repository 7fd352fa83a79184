"""Weights for tests of what a model computes: drawn without compiling its initialization."""

import jax
import numpy as np

from jax231.core.types import Model, PyTree


def random_weights(model: Model, seed: int = 0) -> tuple[PyTree, PyTree]:
    """Parameters normal with variance 1 / fan-in, biases 1 / 10; a state of positive numbers, as variances are."""
    rng = np.random.default_rng(seed)

    def drawn(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        fan = int(np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 10
        return (rng.standard_normal(leaf.shape) / fan**0.5).astype(leaf.dtype)

    params, state = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(drawn, params), jax.tree.map(lambda leaf: np.abs(drawn(leaf)) + 0.5, state)
