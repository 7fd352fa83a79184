"""Made-up batches of the form that a model takes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from jax231.core.types import Batch, Key
from jax231.models import char_rnn
from jax231.models.zoo import Entry


def example(
    entry: Entry,
    shape: tuple[int, ...],
    classes: int,
    n: int,
    key: Key,
    arguments: Mapping[str, Any] = MappingProxyType({}),
) -> Batch:
    """`n` random inputs with random targets for a model that was built with the same shape, classes and arguments.

    Images are standard normal, as after preprocessing; tokens and labels are uniform over the classes. All pixels
    of an image have one label, which nets of coarse scores can learn by heart, too.
    """
    key_inputs, key_tokens, key_targets = jax.random.split(key, 3)
    if entry.form == "tokens":
        tokens = jax.random.randint(key_inputs, (n, *shape), 0, classes)
        options = {**entry.arguments, **arguments}
        sizes = {name: options[name] for name in ("kind", "layers", "hidden") if name in options}
        return Batch(
            (char_rnn.zero_carry(n, **sizes), tokens), jax.random.randint(key_targets, tokens.shape, 0, classes)
        )
    images = jax.random.normal(key_inputs, (n, *shape))
    if entry.form == "image and tokens":
        words = jax.random.randint(key_tokens, (n, 6), 1, classes)  # 0 is the word that pads
        return Batch((images, words[:, :-1]), words[:, 1:])
    labels = jax.random.randint(key_targets, (n,), 0, classes)
    if entry.loss == "pixelwise_cross_entropy":
        labels = jnp.broadcast_to(labels[:, None, None], (n, *shape[:2]))
    return Batch(images, labels)
