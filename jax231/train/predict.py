"""What a trained classifier says of images that it has not seen."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

from jax231.core.checks import require
from jax231.data.decode import Form, read_image
from jax231.data.stream import ImageFiles
from jax231.train.feed import preprocessed
from jax231.train.run import Run

BATCH = 256
"""Images that go through the model at a time."""


def probabilistic(run: Run) -> bool:
    """Whether the model's scores are logarithms of probabilities, as those of a cross entropy are."""
    return "cross_entropy" in run.entry.loss


def predict(run: Run, images: Num[np.ndarray, "n h w c"] | ImageFiles) -> Float[np.ndarray, "n k"]:
    """The probability of each class for each image; of a support vector machine the scores.

    Raises: ValueError for images of another shape than the run's, and for models of text or of pixels.
    """
    require(run.stats is not None, "predict", "a run on images", model=run.entry.name)
    require("mean_iou" not in run.entry.metrics, "predict", "a model with one class an image", model=run.entry.name)
    require(len(images) > 0, "predict", "at least one image", images=images)
    require(images.shape[1:] == run.shape, "predict", f"images {run.shape}", images=images.shape)

    @jax.jit
    def scores(params, state, images):
        outputs, _ = run.model.apply(params, state, preprocessed(run.stats)(images), train=False)
        found = run.entry.scores(outputs)
        return jax.nn.softmax(found) if probabilistic(run) else found

    parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    return np.concatenate([np.asarray(scores(run.params, run.state, jnp.asarray(part))) for part in parts])


def read(run: Run, path: Path) -> Num[np.ndarray, "h w c"]:
    """An image file at the size and with the channels that the run's model reads.

    Raises: DataError for a file that is no image; OSError for one that cannot be opened.
    """
    require(len(run.shape) == 3, "predict", "a run on images", model=run.entry.name)
    height, width, channels = run.shape
    return read_image(path, Form((height, width), channels, run.config.crop))
