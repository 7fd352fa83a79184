"""What a trained classifier says of images that it has not seen."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.data.folders import read_image
from jax231.train.evaluate import BATCH, MASKS
from jax231.train.feed import preprocessed
from jax231.train.run import Run


def probabilistic(run: Run) -> bool:
    """Whether the model's scores are logarithms of probabilities, as those of a cross entropy are."""
    return "cross_entropy" in run.entry.loss


def is_of_pixels(run: Run) -> bool:
    """Whether the model gives every pixel a class, so that `segment` is for it and not `predict`."""
    return "mean_iou" in run.entry.metrics


def predict(run: Run, images: Num[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n k"]:
    """The probability of each class for each image; of a support vector machine the scores.

    Raises: ValueError for images of another shape than the run's, and for models of text or of pixels.
    """
    _require_images("predict", run, images)
    require(not is_of_pixels(run), "predict", "a model with one class an image", model=run.entry.name)
    return _in_parts(run, images, lambda scores: jax.nn.softmax(scores) if probabilistic(run) else scores, BATCH)


def segment(run: Run, images: Num[np.ndarray, "n h w c"]) -> Int[np.ndarray, "n h w"]:
    """The class of every pixel that scores highest.

    Raises: ValueError for images of another shape than the run's, and for models of text or with one class an image.
    """
    _require_images("segment", run, images)
    require(is_of_pixels(run), "segment", "a model of pixels", model=run.entry.name)
    return _in_parts(run, images, lambda scores: jnp.argmax(scores, -1), MASKS)


def _require_images(where: str, run: Run, images: Num[np.ndarray, "..."]) -> None:
    require(run.stats is not None, where, "a run on images", model=run.entry.name)
    require(len(images) > 0, where, "at least one image", images=images)
    require(images.shape[1:] == run.shape, where, f"images {run.shape}", images=images.shape)


def _in_parts(run: Run, images: np.ndarray, read: Callable[[Array], Array], size: int) -> np.ndarray:
    """What `read` makes of the scores, `size` images at a time."""

    @jax.jit
    def some(params: PyTree, state: PyTree, images: Array) -> Array:
        outputs, _ = run.model.apply(params, state, preprocessed(run.stats)(images), train=False)
        return read(run.entry.scores(outputs))

    parts = [images[i : i + size] for i in range(0, len(images), size)]
    return np.concatenate([np.asarray(some(run.params, run.state, jnp.asarray(part))) for part in parts])


def read(run: Run, path: Path) -> Num[np.ndarray, "h w c"]:
    """An image file at the size and with the channels that the run's model reads.

    Raises: DataError for a file that is no image; OSError for one that cannot be opened.
    """
    require(len(run.shape) == 3, "predict", "a run on images", model=run.entry.name)
    return read_image(path, (run.shape[0], run.shape[1]), run.shape[2])
