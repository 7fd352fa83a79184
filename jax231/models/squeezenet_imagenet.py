"""SqueezeNet 1.0 trained on ImageNet: the authors' compressed weights, what its images want, names of its classes."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.types import Model, PyTree
from jax231.models import pretrained, state_dict, zoo

SIZE = 227
MEAN = (104.0, 117.0, 123.0)
"""Of blue, green and red, as the net was trained."""

WEIGHTS, LABELS = "squeezenet_v1_0.npz", "imagenet_labels.json"

LAYERS = {
    "conv1": "features.0",
    "conv_final": "classifier.1",
    **{f"fire{number}": f"features.{place}" for number, place in enumerate((3, 4, 5, 7, 8, 9, 10, 12), 2)},
    "conv1x1_1": "squeeze",
    "conv1x1_2": "expand1x1",
    "conv3x3_2": "expand3x3",
}  # fmt: skip
"""Parts of names in Caffe's model, and in torchvision's."""


class Classifier(NamedTuple):
    """A model, its trained weights, and the names of the classes that it scores."""

    model: Model
    params: PyTree
    state: PyTree
    classes: tuple[str, ...]


def squeezenet_imagenet(folder: str | Path) -> Classifier:
    """The network with the weights and labels in `folder`; its images are `preprocess`'s.

    ``folder/squeezenet_v1_0.npz`` holds ``<layer>/weight`` (out, in, kh, kw) and ``<layer>/bias`` by the names of
    Caffe's model, ``folder/imagenet_labels.json`` a list of the 1,000 classes.

    Raises:  FileNotFoundError and ValueError as `pretrained.load`, and for other than 1,000 labels.
    Source:  Iandola et al. 2016 (arXiv:1602.07360); Han et al. 2016 (arXiv:1510.00149), whose compression left most
             weights zero; 57.5 % of the first guesses right, 80.3 % of the first five.
    """
    folder = Path(folder)
    weights = {_torchvision(name): array for name, array in state_dict.read(folder / WEIGHTS).items()}
    shape, caffe = (SIZE, SIZE, 3), {"last_padding": 1}
    params, state = pretrained.load("squeezenet", weights, shape=shape, classes=1000, **caffe)
    model = zoo.entry("squeezenet").build(shape, 1000, **caffe)
    return Classifier(model, params, state, _labels(folder / LABELS))


def preprocess(images: ArrayLike) -> Float[Array, "n 227 227 3"]:
    """The middle square of each image, resized to 227x227, blue first, less the mean of the training images.

    Shapes:  (n, h, w, 3), or one image (h, w, 3); red, green, blue from 0 to 255 -> (n, 227, 227, 3).
    """
    images = jnp.asarray(images, float)
    images = images[None] if images.ndim == 3 else images
    fits = images.ndim == 4 and images.shape[-1] == 3
    require(fits, "preprocess", "images (n, h, w, 3) or one (h, w, 3)", images=images)
    n, h, w, _ = images.shape
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    square = images[:, top : top + side, left : left + side]
    resized = jax.image.resize(square, (n, SIZE, SIZE, 3), "bilinear")  # smoothed before it is made smaller
    return resized[..., ::-1] - jnp.asarray(MEAN, images.dtype)


def best(classifier: Classifier, inputs: Float[Array, "n 227 227 3"], count: int = 5) -> list[list[tuple[str, float]]]:
    """The likeliest classes of each image that `preprocess` has made ready, with their probabilities."""
    scores, _ = jax.jit(lambda *arrays: classifier.model.apply(*arrays, train=False))(
        classifier.params, classifier.state, inputs
    )
    chances, places = jax.lax.top_k(jax.nn.softmax(scores), count)
    return [
        [(classifier.classes[place], float(chance)) for place, chance in zip(*row, strict=True)]
        for row in zip(np.asarray(places), np.asarray(chances), strict=True)
    ]


def _torchvision(name: str) -> str:
    """``fire2/conv1x1_1/weight`` -> ``features.3.squeeze.weight``."""
    return ".".join(LAYERS.get(part, part) for part in name.split("/"))


def _labels(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file of labels")
    try:
        labels: Any = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: expected a JSON list of 1,000 labels; {error}") from error
    require(isinstance(labels, list) and len(labels) == 1000, str(path), "a list of 1,000 labels", found=len(labels))
    return tuple(labels)
