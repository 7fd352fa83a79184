"""Which pixels a prediction depends on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.types import Model, PyTree


def saliency(
    model: Model, params: PyTree, state: PyTree, images: Float[Array, "..."], labels: Array | None = None
) -> Float[Array, "n h w"]:
    """For each pixel the largest slope, over the channels, of the score of the image's label.

    Without `labels` that of the largest score. The slopes are those of the score itself, not of its probability: a
    probability also grows where another class loses.

    Shapes:  images (n, h, w, c), labels (n,) of integers -> (n, h, w), none negative.
    Raises:  ValueError for images of another rank, and for labels that are not one integer an image.
    Source:  Simonyan, Vedaldi and Zisserman 2014 (arXiv:1312.6034), section 3.1.
    """
    require(images.ndim == 4, "saliency", "images (n, h, w, c)", images=images)
    if labels is not None:
        fits = labels.shape == images.shape[:1] and jnp.issubdtype(labels.dtype, jnp.integer)
        require(fits, "saliency", "one integer label an image", images=images, labels=labels)

    def slope(image: jax.Array, label: jax.Array | None) -> jax.Array:
        def score(image: jax.Array) -> jax.Array:
            outputs, _ = model.apply(params, state, image[None], train=False)
            scores = getattr(outputs, "logits", outputs)[0]
            return scores[jnp.argmax(scores) if label is None else label]

        return jnp.max(jnp.abs(jax.grad(score)(image)), -1)

    return jax.vmap(slope)(images, labels)
