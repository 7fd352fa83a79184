"""What a trained classifier says of images that it has not seen."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

from jax231.core.checks import require
from jax231.data.decode import Form, read_image
from jax231.data.stream import ImageFiles
from jax231.data.views import Views
from jax231.train import answers
from jax231.train.run import Run

BATCH = 256
"""Images that go through the model at a time."""


def probabilistic(run: Run) -> bool:
    """Whether the model's scores are logarithms of probabilities, as those of a cross entropy are."""
    return run.entry.probabilistic


def predict(
    run: Run, images: Num[np.ndarray, "n h w c"] | ImageFiles, views: Views | None = None
) -> Float[np.ndarray, "n k"]:
    """The probability of each class for each image; of a support vector machine the scores.

    A run of several members gives the mean of what they say, each averaged over `views` of an image where asked.

    Raises: ValueError for images of another shape than the run's, for models of text or of pixels, and as
            `answers.viewed`.
    """
    return np.mean(each(run, images, views), 0)


def each(
    run: Run, images: Num[np.ndarray, "n h w c"] | ImageFiles, views: Views | None = None, *, plain: bool = False
) -> Float[np.ndarray, "members n k"]:
    """What each member of the run says, as `predict`; with `plain` by its parameters without the average.

    Raises: as `predict`; ValueError for `plain` of a run that keeps no average.
    """
    require(run.stats is not None, "predict", "a run on images", model=run.entry.name)
    require("mean_iou" not in run.entry.metrics, "predict", "a model with one class an image", model=run.entry.name)
    require(len(images) > 0, "predict", "at least one image", images=images)
    require(images.shape[1:] == run.shape, "predict", f"images {run.shape}", images=images.shape)

    answer = answers.plain(run.network, run.stats)
    if views is not None:
        answer = answers.viewed(answer, run.entry, views)

    @jax.jit
    def scores(params, state, images):
        found = run.entry.scores(answer(params, state, images))
        return jax.nn.softmax(found) if probabilistic(run) else found

    chosen = []
    for member in run.members:
        require(not plain or member.plain is not None, "predict", "a run that keeps an average", ema=run.config.ema)
        chosen.append(member.plain if plain and member.plain else (member.params, member.state))
    found = []
    for i in range(0, len(images), BATCH):
        part = jnp.asarray(images[i : i + BATCH])
        found.append([np.asarray(scores(*one, part)) for one in chosen])
    return np.concatenate(found, 1)


def read(run: Run, path: Path) -> Num[np.ndarray, "h w c"]:
    """An image file at the size and with the channels that the run's model reads.

    Raises: DataError for a file that is no image; OSError for one that cannot be opened.
    """
    require(len(run.shape) == 3, "predict", "a run on images", model=run.entry.name)
    height, width, channels = run.shape
    return read_image(path, Form((height, width), channels, run.config.crop))
