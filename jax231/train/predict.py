"""What a trained classifier says of images that it has not seen."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.data.decode import Form, read_image
from jax231.data.stream import ImageFiles
from jax231.data.views import Views
from jax231.train import answers
from jax231.train.evaluate import BATCH, MASKS
from jax231.train.run import Run


def probabilistic(run: Run) -> bool:
    """Whether the model's scores are logarithms of probabilities, as those of a cross entropy are."""
    return run.entry.probabilistic


def is_of_pixels(run: Run) -> bool:
    """Whether the model gives every pixel a class, so that `segment` is for it and not `predict`."""
    return run.entry.of_pixels


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
    _require_images("predict", run, images)
    require(not is_of_pixels(run), "predict", "a model with one class an image", model=run.entry.name)
    answer = answers.plain(run.network, run.stats)
    if views is not None:
        answer = answers.viewed(answer, run.entry, views)
    chosen = []
    for member in run.members:
        require(not plain or member.plain is not None, "predict", "a run that keeps an average", ema=run.config.ema)
        chosen.append(member.plain if plain and member.plain else (member.params, member.state))
    told = jax.nn.softmax if probabilistic(run) else lambda scores: scores
    return _in_parts(chosen, images, lambda *seen: told(run.entry.scores(answer(*seen))), BATCH)


def segment(run: Run, images: Num[np.ndarray, "n h w c"]) -> Int[np.ndarray, "n h w"]:
    """The class of every pixel that scores highest, by the mean of the probabilities where a run has several members.

    Raises: ValueError for images of another shape than the run's, and for models of text or with one class an image.
    """
    _require_images("segment", run, images)
    require(is_of_pixels(run), "segment", "a model of pixels", model=run.entry.name)
    answer = answers.plain(run.network, run.stats)
    if len(run.members) == 1:
        only = [(run.members[0].params, run.members[0].state)]
        return _in_parts(only, images, lambda *seen: jnp.argmax(run.entry.scores(answer(*seen)), -1), MASKS)[0]
    mean = answers.averaged(answer, run.entry)
    return _in_parts([run.stacked()], images, lambda *seen: jnp.argmax(mean(*seen), -1), MASKS)[0]


def _require_images(where: str, run: Run, images: Num[np.ndarray, "..."] | ImageFiles) -> None:
    require(run.stats is not None, where, "a run on images", model=run.entry.name)
    require(len(images) > 0, where, "at least one image", images=images)
    require(images.shape[1:] == run.shape, where, f"images {run.shape}", images=images.shape)


def _in_parts(
    networks: Sequence[tuple[PyTree, PyTree]],
    images: np.ndarray | ImageFiles,
    told: Callable[[PyTree, PyTree, Array], Array],
    size: int,
) -> Num[np.ndarray, "networks n ..."]:
    """What each network, its parameters and state, tells of the images, `size` of them at a time."""
    compiled = jax.jit(told)
    found = []
    for i in range(0, len(images), size):
        part = jnp.asarray(images[i : i + size])
        found.append([np.asarray(compiled(*one, part)) for one in networks])
    return np.concatenate(found, 1)


def read(run: Run, path: Path) -> Num[np.ndarray, "h w c"]:
    """An image file at the size and with the channels that the run's model reads.

    Raises: DataError for a file that is no image; OSError for one that cannot be opened.
    """
    require(len(run.shape) == 3, "predict", "a run on images", model=run.entry.name)
    height, width, channels = run.shape
    return read_image(path, Form((height, width), channels, run.config.crop))
