"""What are features from ImageNet worth where there are few images? SqueezeNet's against training from scratch.

    python experiments/squeezenet_transfer.py

2,000 images of CIFAR-10, 200 of each class, are all that may be learned from, in each of three draws. One classifier is
linear, a softmax on what SqueezeNet 1.0 with the authors' weights, trained on ImageNet, puts out (`squeezenet_v1_0` in
the data folder): its last fire module, averaged over the image, which is enlarged to 128x128. The other is a ResNet of
8 layers that begins with random weights, with flips and crops of the 2,000. What there is to choose, the L2 penalty of
the one, rate and decay of the other, is chosen on 400 of the 2,000, and then all of them are learned. The test is on
all 10,000 test images. Writes ``squeezenet-transfer.json`` beside the other results.
"""

import itertools
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from jaxtyping import Array, Float

from jax231.core.files import write_whole
from jax231.core.types import Batch
from jax231.data import preprocess, sources
from jax231.data.dataset import Dataset, Examples
from jax231.data.locate import data_folder
from jax231.data.splits import hold_out
from jax231.functional.losses import softmax_cross_entropy
from jax231.measure import machine
from jax231.models.squeezenet_imagenet import MEAN, squeezenet_imagenet
from jax231.optim.minimise import minimise
from jax231.train import network
from jax231.train.config import Config as Training
from jax231.train.loop import train
from jax231.train.run import Member, Run
from jax231.train.splits import Splits
from jax231.train.transfer import features

HERE = Path(__file__).resolve().parent
LAYER, CHANNELS = "fire9", 512
"""The last before the scores of ImageNet's classes, and how much it puts out of a pixel."""

PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Of which the best is taken: they multiply half the squared norm of the weights."""

SCRATCH = Training(model="resnet20", data="cifar10", arguments={"depth": 8}, optimizer="nesterov", rate=0.1,
                   schedule="one_cycle", epochs=60, batch=64, decay=5e-4, augment=("flip", "pad_crop"))  # fmt: skip
RATES, DECAYS = (0.05, 0.2), (5e-4, 2e-3)
PART = 200
"""Images that are enlarged at a time."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How much is learned from and tested, and where the results go."""

    draws: int = 3
    """Draws of training images, each also the seed of the network that begins from scratch."""

    images: int = 2_000
    """Images to learn from, as many of each class."""

    held_out: int = 400
    """Of these, images to choose by."""

    test: int | None = None
    """Test images (None: all)."""

    size: int = 128
    """Pixels a side to which images are enlarged for SqueezeNet."""

    epochs: int = 60
    """Passes over the images from scratch."""

    data_dir: Path | None = None
    """Folder with the official files of the data sets, and with squeezenet_v1_0."""

    folder: Path = HERE / "results"
    """Where the results go."""


def squeezenet(folder: Path, size: int) -> Run:
    """The authors' network as a run on images of `size`, blue, green and red, from which the mean is taken."""
    given = squeezenet_imagenet(folder)
    training = Training(model="squeezenet", arguments={"last_padding": 1}, preprocess="per_channel_mean")
    shape = (size, size, 3)
    stats = preprocess.Stats("per_channel_mean", np.array(MEAN), np.ones(3), np.zeros((0, 0)))
    net = network.build(training, shape, len(given.classes))
    members = (Member("ImageNet", given.params, given.state),)
    return Run(folder, training, net, members, stats, shape, given.classes, 0)


def described(run: Run, images: np.ndarray) -> Float[np.ndarray, "n d"]:
    """Means over the image of what `LAYER` puts out."""
    size = run.shape[0]
    enlarge = jax.jit(lambda x: jax.image.resize(x.astype(jnp.float32), (len(x), size, size, 3), "bilinear")[..., ::-1])

    def part(some: np.ndarray) -> np.ndarray:
        large = np.asarray(enlarge(some))
        return features(run, large, LAYER, batch=len(large)).reshape(len(large), -1, CHANNELS).mean(1)

    return np.concatenate([part(images[i : i + PART]) for i in range(0, len(images), PART)])


def objective(params: dict[str, Array], x: Array, labels: Array, penalty: Array) -> Array:
    """The mean cross entropy of a linear classifier, and the penalty on its weights."""
    loss = softmax_cross_entropy(x @ params["kernel"] + params["bias"], labels).mean()
    return loss + penalty / 2 * jnp.sum(params["kernel"] ** 2)


def linear(x: np.ndarray, labels: np.ndarray, penalty: float, classes: int) -> dict[str, Array]:
    """The linear classifier with the least objective."""
    start = {"kernel": jnp.zeros((x.shape[1], classes)), "bias": jnp.zeros(classes)}
    return minimise(objective, start, (x, labels, jnp.float32(penalty)), gtol=1e-4, max_steps=2_000).x


def right(params: dict[str, Array], x: np.ndarray, labels: np.ndarray) -> float:
    """The share of right answers."""
    return float((np.argmax(x @ np.asarray(params["kernel"]) + np.asarray(params["bias"]), 1) == labels).mean())


def from_features(x: np.ndarray, tested: np.ndarray, labels: np.ndarray, truth: np.ndarray, held_out: int,
                  classes: int) -> dict[str, Any]:  # fmt: skip
    """The linear classifier on features, its penalty chosen on held-out images."""
    rest, held = hold_out(labels, held_out, 0)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    x, tested = (x - mean) / scale, (tested - mean) / scale
    found = [right(linear(x[rest], labels[rest], one, classes), x[held], labels[held]) for one in PENALTIES]
    best = PENALTIES[int(np.argmax(found))]
    return {"penalty": best, "validation": found, "accuracy": right(linear(x, labels, best, classes), tested, truth)}


def from_scratch(known: Examples, test: Examples, training: Training, classes: tuple[str, ...]) -> float:
    """The share of right answers of a network that is trained on `known` alone."""
    stats = preprocess.fit("per_channel", known.images)
    shape = known.images.shape[1:]
    splits = Splits("cifar10", Batch(*known), None, Batch(*test), shape, classes, stats, {})
    with tempfile.TemporaryDirectory() as folder:
        result = train(training, Path(folder) / "run", splits=splits)
    assert result.test is not None
    return result.test.accuracy


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Measure both, and print the table."""
    dataset = sources.load("cifar10", config.data_dir)
    facts = measure(dataset, squeezenet(data_folder(config.data_dir) / "squeezenet_v1_0", config.size), config)
    config.folder.mkdir(parents=True, exist_ok=True)
    write_whole(config.folder / "squeezenet-transfer.json", msgspec.json.format(msgspec.json.encode(facts)))
    print(table(facts))


def measure(dataset: Dataset, run: Run, config: Config) -> dict[str, Any]:
    """Both ways of learning on each draw."""
    count, classes = config.test or len(dataset.test.labels), len(dataset.classes)
    test = dataset.test.take(np.arange(count))
    begin = time.perf_counter()
    tested = described(run, test.images)
    rows, choices = [], None
    for draw in range(config.draws):
        known = dataset.train.take(hold_out(dataset.train.labels, config.images, draw)[1])
        x = described(run, known.images)
        row = from_features(x, tested, known.labels, test.labels, config.held_out, classes)
        base = replace(SCRATCH, epochs=config.epochs, seed=draw)
        if choices is None:
            choices = _chosen(known, base, config.held_out, dataset.classes)
        training = replace(base, rate=choices["rate"], decay=choices["decay"])
        scratch = from_scratch(known, test, training, dataset.classes)
        rows.append({"draw": draw, "features": row, "scratch": scratch, "gain": row["accuracy"] - scratch})
        print(f"draw {draw}: features {row['accuracy']:.2%}, from scratch {scratch:.2%}")
    return {
        "images": config.images,
        "test": count,
        "size": config.size,
        "layer": LAYER,
        "epochs": config.epochs,
        "scratch": choices,
        "device": machine.device(),
        "versions": machine.versions(),
        "seconds": time.perf_counter() - begin,
        "draws": rows,
    }


def _chosen(known: Examples, base: Training, held_out: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """Rate and decay of the network from scratch: those that do best on held-out images of the first draw."""
    rest, held = hold_out(known.labels, held_out, 0)
    tried = [
        {"rate": rate, "decay": decay, "validation": from_scratch(
            known.take(rest), known.take(held), replace(base, rate=rate, decay=decay), classes)}
        for rate, decay in itertools.product(RATES, DECAYS)
    ]  # fmt: skip
    return {**max(tried, key=lambda one: one["validation"]), "tried": tried}


def table(facts: dict[str, Any]) -> str:
    """A row a way of learning, in percent of the test images."""
    ways = {
        "softmax on SqueezeNet's features": [row["features"]["accuracy"] for row in facts["draws"]],
        "ResNet-8 from scratch": [row["scratch"] for row in facts["draws"]],
        "gain": [row["gain"] for row in facts["draws"]],
    }
    lines = [f"| {facts['images']:,} images of CIFAR-10 | mean | each draw |", "|---|---:|---|"]
    for name, values in ways.items():
        each = ", ".join(f"{100 * value:.1f}" for value in values)
        lines.append(f"| {name} | {100 * np.mean(values):.1f} | {each} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cyclopts.run(main)
