"""``jax231 predict`` and ``jax231 sample``: what trained models say and write."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console

from jax231.cli.listings import show
from jax231.cli.views import NONE, Views
from jax231.core.checks import require
from jax231.data.errors import DataError
from jax231.train.config import CorruptName


def predict(
    run: Path,
    *images: Path,
    top: int = 5,
    masks: Path | None = None,
    which: Literal["best", "newest"] = "best",
    corrupt: CorruptName = "refuse",
    views: Annotated[Views, Parameter(name="*", consume_multiple=True, negative_iterable=())] = NONE,
    json: bool = False,
) -> int:
    """Classify image files by a training run: the most probable classes of each, or the class of every pixel.

    Images of another size are resized to that of the run's, colours are made grey where it was trained on grey ones.
    Members and snapshots of a run predict together.
    A model of pixels writes a picture of each image's mask, an indexed PNG whose indices are the classes.
    Exit code 1 where damaged images were skipped.

    Parameters
    ----------
    run
        The run folder, for instance runs/lenet-mnist.
    images
        Image files, or folders of them.
    top
        Classes to show of each image.
    masks
        Folder for the pictures of masks, which a model of pixels writes.
    which
        The checkpoint: the best by its score on the validation split, or the newest.
    corrupt
        What becomes of damaged images, and of files that are none: the command ends and names the first (refuse), or
        classifies the others and lists these at the end (skip).
    json
        Print JSON.
    """
    require(len(images) > 0, "predict", "at least one image", images=images)
    require(top >= 1, "predict", "at least one class", top=top)
    import numpy as np

    from jax231.train.predict import is_of_pixels, probabilistic
    from jax231.train.predict import predict as call
    from jax231.train.run import open_run

    console = Console(stderr=json)
    found = open_run(run, which, say=console.print)
    files = [file for path in images for file in _files(path)]
    damaged: list[DataError] = []
    if is_of_pixels(found):
        _segment(found, files, masks, json, skip=corrupt == "skip", damaged=damaged)
        return _told(damaged)
    require(masks is None, "predict", "--masks for models of pixels only", model=found.config.model)
    files, seen = _read(found, files, skip=corrupt == "skip", damaged=damaged)
    scores = call(found, seen, views.build())
    heading = "probability" if probabilistic(found) else "score"
    rows: list[dict[str, Any]] = []
    for file, row in zip(files, scores, strict=True):
        for place, label in enumerate(np.argsort(-row)[:top]):
            value = float(row[label])
            rows.append({"image": str(file), "rank": place + 1, "class": found.classes[label], heading: value})
    if json:
        show(rows, {}, json=True, title="")
        return _told(damaged)
    said = [
        row | {heading: f"{row[heading]:.2%}".replace("%", " %") if heading == "probability" else f"{row[heading]:.3g}",
               "image": row["image"] if row["rank"] == 1 else ""}
        for row in rows
    ]  # fmt: skip
    columns = {"image": "image", "class": "class", heading: heading}
    show(said, columns, json=False, title=f"{found.config.model}, step {found.step}")
    return _told(damaged)


def _read(found: Any, files: list[Path], *, skip: bool, damaged: list[DataError]) -> tuple[list[Path], Any]:
    """The files that are images, and their pixels; with `skip` those that are none are put into `damaged`."""
    import numpy as np

    from jax231.train.predict import read

    whole, seen = [], []
    for file in files:
        try:
            seen.append(read(found, file))
            whole.append(file)
        except DataError as error:
            if not skip:
                raise
            damaged.append(error)
    if not seen:
        raise ValueError(f"predict: expected an image that is not damaged; got {'; '.join(map(str, damaged))}")
    return whole, np.stack(seen)


def _told(damaged: list[DataError]) -> int:
    """Name the images that were skipped on standard error; the exit code."""
    for error in damaged:
        print("jax231: skipped", error, file=sys.stderr)
    return int(bool(damaged))


def _segment(
    found: Any, files: list[Path], folder: Path | None, json: bool, *, skip: bool, damaged: list[DataError]
) -> None:
    """Write the mask of each image, and show which share of it each class has."""
    if folder is None:
        raise ValueError(
            f"predict: expected --masks FOLDER for the masks of a model of pixels; got none, model={found.config.model}"
        )
    names = [f"{file.stem}.png" for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    require(not twice, "predict", "images whose names differ, as those of their masks do", twice=twice)
    over = [str(file) for file, name in zip(files, names, strict=True) if (folder / name).absolute() == file.absolute()]
    require(not over, "predict", "a folder for masks in which they do not overwrite the images", images=over)
    import numpy as np

    from jax231.data import masks
    from jax231.train.predict import segment

    files, images = _read(found, files, skip=skip, damaged=damaged)
    classes = segment(found, images)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for file, mask in zip(files, classes, strict=True):
        name = f"{file.stem}.png"
        masks.write(folder / name, mask)
        shares = np.bincount(mask.ravel(), minlength=len(found.classes)) / mask.size
        row = {"image": str(file), "mask": str(folder / name)}
        rows.append(row | {label: float(share) for label, share in zip(found.classes, shares, strict=True)})
    seen = [label for label in found.classes if any(row[label] > 0 for row in rows)]
    said = rows if json else [row | {label: f"{row[label]:.2%}".replace("%", " %") for label in seen} for row in rows]
    title = f"{found.config.model}, step {found.step}: shares of pixels; masks are in {folder}"
    show(said, {name: name for name in ("image", *seen)}, json=json, title=title)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    require(len(files) > 0, "predict", "a folder with images", folder=str(path))
    return files


def sample(
    run: Path,
    *,
    length: int = 500,
    temperature: float = 0.8,
    prompt: str = "\n",
    seed: int = 0,
    member: int | None = None,
    which: Literal["best", "newest"] = "best",
) -> None:
    """Write text by a training run of a character model.

    Members and snapshots of a run write together: each character is drawn from the mean of their probabilities.

    Parameters
    ----------
    run
        The run folder, for instance runs/char_lstm-tiny_shakespeare.
    length
        Characters to write.
    temperature
        Below 1 more predictable, above 1 wilder; 0 takes the most probable character always.
    prompt
        What the model reads before it writes; default: the end of a line.
    seed
        Another seed, another text.
    member
        Let this one of several members or snapshots write alone, counted from 0; default: all together.
    which
        The checkpoint: the best by its score on the validation split, or the newest.
    """
    from jax231.train.run import open_run
    from jax231.train.sample import sample as call

    found = open_run(run, which, say=Console(stderr=True).print)
    found = found if member is None else found.alone(member)
    text = call(found, length=length, temperature=temperature, prompt=prompt, seed=seed)
    sys.stdout.write(text.lstrip("\n") + "\n")


def recipes(*, json: bool = False) -> None:
    """List the recipes of `jax231 train --recipe`: what each trains, and how long.

    Parameters
    ----------
    json
        Print JSON.
    """
    from jax231.train import recipes as table

    rows = [{"name": name, "about": table.about(name)} for name in table.names()]
    show(rows, {"name": "recipe", "about": "what it trains"}, json=json, title="Recipes")
