"""What does a trained network look at? SqueezeNet's first filters, and the pixels behind its guesses.

    JAX231_DATA=... python experiments/squeezenet_sees.py

The weights are the authors', trained on ImageNet, in ``squeezenet_v1_0`` under JAX231_DATA. The photographs are those
of scikit-image where it is installed, and scikit-learn's otherwise. Writes ``squeezenet-filters.png`` and
``squeezenet-saliency.png`` beside the other results.
"""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cyclopts
import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from jax231.models import squeezenet_imagenet
from jax231.models.saliency import saliency
from jax231.report.filters import write_filters

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the weights are, and where the results go."""

    data: Path = Path(os.environ.get("JAX231_DATA", "data"))
    """Folder that has the folder squeezenet_v1_0."""

    folder: Path = HERE / "results"
    """Where the results go."""


def photographs() -> list[np.ndarray]:
    """Red, green, blue from 0 to 255."""
    try:
        data = importlib.import_module("skimage.data")
    except ModuleNotFoundError:
        from sklearn.datasets import load_sample_images

        return list(load_sample_images().images)
    return [data.chelsea(), data.coffee(), data.rocket()]


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Draw both."""
    config.folder.mkdir(parents=True, exist_ok=True)
    net = squeezenet_imagenet.squeezenet_imagenet(config.data / "squeezenet_v1_0")
    kernel = np.asarray(net.params["conv1"]["kernel"])[:, :, ::-1]  # blue came first
    title = "SqueezeNet 1.0, trained on ImageNet: the 96 filters of its first layer, 7x7"
    print(write_filters(kernel, config.folder / "squeezenet-filters.png", title=title, columns=16))
    slopes = jax.jit(lambda images: saliency(net.model, net.params, net.state, images))
    shown = photographs()
    figure, axes = plt.subplots(len(shown), 2, figsize=(6, 3.1 * len(shown)), layout="constrained", squeeze=False)
    for row, photograph in zip(axes, shown, strict=True):
        inputs = squeezenet_imagenet.preprocess(photograph)
        [[(name, chance)]] = squeezenet_imagenet.best(net, inputs, 1)
        seen = np.asarray(inputs[0]) + np.asarray(squeezenet_imagenet.MEAN)
        row[0].imshow(np.clip(seen[..., ::-1] / 255, 0, 1))
        row[0].set_title(f"{name}, {chance:.0%}", loc="left", fontsize=10)
        slope = np.asarray(slopes(inputs)[0])
        row[1].imshow(slope, cmap="magma", vmax=np.quantile(slope, 0.995))
        row[1].set_title("slope of the score by pixel", loc="left", fontsize=10)
        for ax in row:
            ax.axis("off")
    file = config.folder / "squeezenet-saliency.png"
    figure.savefig(file, dpi=110)
    plt.close(figure)
    print(file)


if __name__ == "__main__":
    cyclopts.run(main)
