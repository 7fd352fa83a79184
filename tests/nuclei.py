"""Crops of nuclei with the class of every pixel: background, nucleus, border."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax231.core.types import Batch, Model
from jax231.functional.losses import pixelwise_cross_entropy


def crops(data_dir: Path, n: int = 2, size: int = 32) -> Batch:
    """`n` crops from the middle of images with many nuclei, and their labels."""
    with np.load(data_dir / "nuclei" / "nuclei128.npz") as file:
        images, masks = (file[name][:200, 48 : 48 + size, 48 : 48 + size] for name in ("images", "masks"))
    full = np.argsort([(mask == 0).mean() for mask in masks])[:n]
    return Batch(jnp.asarray(images[full] / 127.5 - 1, jnp.float32), jnp.asarray(masks[full], jnp.int32))


def learned(model: Model, batch: Batch, *, steps: int = 60, rate: float = 0.01) -> np.ndarray:
    """The losses on the way to knowing the batch by heart."""
    tx = optax.adam(rate)

    @jax.jit
    def train(key):
        def step(train, key):
            params, state, opt = train

            def loss(params):
                scores, new = model.apply(params, state, batch.inputs, train=True, key=key)
                return pixelwise_cross_entropy(scores, batch.targets).mean(), new

            (value, state), grads = jax.value_and_grad(loss, has_aux=True)(params)
            updates, opt = tx.update(grads, opt)
            return (optax.apply_updates(params, updates), state, opt), value

        params, state = model.init(key)
        return jax.lax.scan(step, (params, state, tx.init(params)), jax.random.split(key, steps))[1]

    return np.asarray(train(jax.random.key(0)))
