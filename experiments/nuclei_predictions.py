"""What do transposed convolutions and unpooling make of nuclei? Images, truth and both predictions side by side.

    python experiments/train_recipe.py nuclei-fcn --seeds 1
    python experiments/train_recipe.py nuclei-segnet --seeds 1
    python experiments/nuclei_predictions.py

Reads the runs of both recipes. Writes ``nuclei-predictions.png`` beside the other results, four images of the test
split at even distances between the hardest and the easiest by the mean IoU of both networks together, and
``nuclei-predictions.json``: the overlap of each class over the whole test split, and the parameters of each network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import jax
import matplotlib
import msgspec
import numpy as np

from jax231.core.files import write_whole
from jax231.functional.metrics import confusion_matrix
from jax231.train.predict import segment
from jax231.train.run import Run, open_run

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

HERE = Path(__file__).resolve().parent
NETS = {"nuclei-fcn": "transposed convolutions", "nuclei-segnet": "unpooling by switches"}
SHOWN = 4
COLORS = ("#10131a", "#2a78d6", "#f2a33a")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the runs are, and where the results go."""

    runs: Path = Path("runs")
    """Folder with the run folders recipe-NAME-0."""

    data_dir: Path | None = None
    """Folder with the official files of the data sets."""

    folder: Path = HERE / "results"
    """Where the results go."""


def overlaps(found: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Intersection over union of each class; NaN for one that is in neither."""
    matrix = np.asarray(confusion_matrix(found, truth, classes), float)
    both = np.diagonal(matrix)
    either = matrix.sum(0) + matrix.sum(1) - both
    return np.divide(both, either, out=np.full(classes, np.nan), where=either > 0)


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Draw the picture, and write the figures of each class."""
    opened = {name: open_run(config.runs / f"recipe-{name}-0", "newest") for name in NETS}
    print(compare(opened, config))


def compare(opened: dict[str, Run], config: Config) -> dict[str, Any]:
    """Predict the test split by each run; the overlap of each class."""
    first = next(iter(opened.values()))
    test = first.dataset(config.data_dir).test
    assert test is not None
    masks = {name: segment(run, test.inputs) for name, run in opened.items()}
    count = len(first.classes)
    facts = {
        name: {
            "what": NETS[name],
            "parameters": sum(x.size for x in jax.tree.leaves(run.params)),
            "iou": dict(zip(first.classes, overlaps(masks[name], test.targets, count).tolist(), strict=True)),
            "mean_iou": float(np.nanmean(overlaps(masks[name], test.targets, count))),
        }
        for name, run in opened.items()
    }
    config.folder.mkdir(parents=True, exist_ok=True)
    write_whole(config.folder / "nuclei-predictions.json", msgspec.json.format(msgspec.json.encode(facts)))
    each = [
        np.mean([np.nanmean(overlaps(found[i], test.targets[i], count)) for found in masks.values()])
        for i in range(len(test.inputs))
    ]
    chosen = np.argsort(each)[np.linspace(0, len(each) - 1, SHOWN + 2).astype(int)[1:-1]]
    columns = [test.targets, *masks.values()]
    draw(test.inputs, columns, list(facts.values()), chosen, first.classes, config.folder / "nuclei-predictions.png")
    return facts


def draw(
    images: np.ndarray,
    columns: list[np.ndarray],
    facts: list[dict[str, Any]],
    chosen: np.ndarray,
    classes: tuple[str, ...],
    path: Path,
) -> None:
    """A row an image: the image, its true mask, and what each network says."""
    titles = ["image", "truth", *(f"{one['what']}\nmean IoU {one['mean_iou']:.1%} on all" for one in facts)]
    figure, axes = plt.subplots(len(chosen), 4, figsize=(8.4, 2.15 * len(chosen) + 0.5), layout="constrained")
    for row, i in zip(axes, chosen, strict=True):
        row[0].imshow(images[i])
        for axis, column in zip(row[1:], columns, strict=True):
            axis.imshow(column[i], cmap=ListedColormap(COLORS), vmin=0, vmax=len(COLORS) - 1, interpolation="nearest")
        for axis in row:
            axis.axis("off")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9, loc="left")
    shown = [Patch(color=color, label=label) for color, label in zip(COLORS, classes, strict=True)]
    figure.legend(handles=shown, loc="outside lower center", ncols=len(classes), frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    cyclopts.run(main)
