"""``jax231 tune``: search for hyperparameters in stages, from coarse to fine."""

import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from jax231.train.config import Config, CorruptName, CropName

if TYPE_CHECKING:
    from jax231.train.tune import Stage

SHOWN = 8
"""Settings of a stage that the table shows."""

Numbers = Annotated[tuple[int, ...], Parameter(consume_multiple=True)]


def tune(
    model: str,
    data: str = "digits",
    /,
    *,
    optimizer: str = "nesterov",
    rate: tuple[float, float] | None = None,
    l2: tuple[float, float] | None = None,
    decay: tuple[float, float] | None = None,
    dropout: tuple[float, float] | None = None,
    width: Numbers = (),
    depth: Numbers = (),
    settings: Numbers = (24, 12),
    epochs: Numbers = (2, 8),
    grid: bool = False,
    sobol: bool = False,
    halving: int | None = None,
    folds: int | None = None,
    shrink: float = 3.0,
    lanes: int = 8,
    batch: int = 64,
    arguments: dict[str, int | float | bool | str] | None = None,
    preprocess: str = "per_channel",
    size: int | None = None,
    crop: CropName = "none",
    corrupt: CorruptName = "refuse",
    examples: int | None = None,
    validation: int | None = None,
    seed: int = 0,
    name: str | None = None,
    runs: Path = Path("runs"),
    data_dir: Path | None = None,
) -> None:
    """Search for hyperparameters as the course does: few epochs over wide ranges, then longer around the best.

    Settings are drawn at random, evenly in the logarithm. Settings of one stage that share their shapes train side by
    side as one compiled program; one whose cost exceeds 3 times its first is broken off. Accuracies are those of the
    validation split, of 5 folds where data are small; the test split is not looked at.

    Ctrl-C keeps what is finished; the same command goes on from there.

    Parameters
    ----------
    model
        Model; `jax231 models` lists those of images.
    data
        Data set (`jax231 data list`), or the path of a folder with one subfolder of images a class.
    optimizer
        First-order optimizer; `jax231 optimizers` describes them and lists the usual step sizes of each.
    rate
        Step sizes, low and high; default: the optimizer's usual range.
    l2
        L2 penalty of kernels; default: 1e-6 to 0.1, where no decay is given and the optimizer is not AdamW, Lion, Muon.
    decay
        Decoupled weight decay of kernels; default: 1e-6 to 0.1 for AdamW, Lion and Muon.
    dropout
        Share of units that dropout silences, low and high; for models that have it.
    width
        Widths to choose from: hidden units or channels.
    depth
        Depths to choose from: hidden layers, stages, or layers of a residual net.
    settings
        Settings of each stage.
    epochs
        Epochs of each stage.
    grid
        Take a grid in the place of random settings.
    sobol
        Take evenly scattered settings (Sobol points) in the place of random ones.
    halving
        Successive halving within a stage: keep the best of so many settings again and again.
    folds
        Folds of cross-validation; 1 is the validation split; default: 5 below 2,000 examples, else 1.
    shrink
        By how much a stage narrows each range.
    lanes
        Settings that train at once.
    batch
        Examples a step; the partial batch at the end of an epoch is left out.
    arguments
        Arguments of the model, as in --arguments.hidden 256.
    preprocess
        Preprocessing of images: none, mean_image, per_channel_mean, per_channel, standardize.
    size
        Pixels a side to which the images of a folder are resized; default: as they are.
    crop
        What is resized to the size of an image in a folder: all of it (none) or its centre (center).
    corrupt
        What becomes of damaged images in a folder: the search ends and names the first, or skips them and lists them.
    examples
        Use only so many training examples.
    validation
        Training examples held out to validate on; default: the data set's number.
    seed
        Seed of settings, first parameters and batches.
    name
        Name of the folder; default: tune-MODEL-DATA.
    runs
        Folder that holds the folders of runs.
    data_dir
        Folder with the official files of the data sets; default: JAX231_DATA, else the user's cache.
    """
    from jax231.core.checks import require
    from jax231.train import search as plans
    from jax231.train.tune import tune as run

    require(not (grid and sobol), "tune", "one of --grid and --sobol", grid=grid, sobol=sobol)
    if l2 is None and decay is None:
        decoupled = optimizer in plans.DECOUPLED
        l2, decay = (None, plans.USUAL) if decoupled else (plans.USUAL, None)
    chosen: dict[str, Any] = {
        "model": model, "data": data, "optimizer": optimizer, "batch": batch, "arguments": arguments or {},
        "preprocess": preprocess, "size": size, "crop": crop, "corrupt": corrupt,
        "examples": examples, "validation": validation, "seed": seed,
    }  # fmt: skip
    search = plans.Search(
        config=Config(**chosen), rate=rate, l2=l2, decay=decay, dropout=dropout, width=width, depth=depth,
        settings=settings, epochs=epochs, method="grid" if grid else "sobol" if sobol else "random",
        folds=folds, halving=halving, shrink=shrink, lanes=lanes,
    )  # fmt: skip
    folder = runs / (name or f"tune-{model}-{Path(data).name}")
    console, begin = Console(), time.monotonic()
    columns = (TextColumn("{task.description:44}"), BarColumn(bar_width=20), TaskProgressColumn(),
               TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("loading", total=1.0)

        def hear(text: str, share: float) -> None:
            if not console.is_terminal and text != progress.tasks[task].description:
                console.print(text, highlight=False)
            progress.update(task, description=text, completed=share)

        stages = run(search, folder, data_dir=data_dir, watcher=hear)
    for number, stage in enumerate(stages):
        console.print(_table(number, stage))
        for warning in stage.warnings:
            console.print(f"[yellow]warning[/]: {warning}", highlight=False)
    best = stages[-1].best
    if best is None:
        console.print("Every setting of the last stage exploded: the learning rates are too high.")
    else:
        said = ", ".join(f"{key} {value:.4g}" for key, value in best.setting.items())
        console.print(f"\nbest: {said}; validation accuracy {best.result.accuracy:.2%}", highlight=False)
        if (line := plans.command(search, best.setting)) is not None:
            console.print(f"train it: {line}", highlight=False, soft_wrap=True)
    console.print(f"{time.monotonic() - begin:.0f} s; results in {folder}/", soft_wrap=True)
    if find_spec("matplotlib"):
        console.print(f"picture: {_picture(stages, folder / 'search.svg')}", soft_wrap=True)


def _table(number: int, stage: "Stage") -> Table:
    """The best settings of a stage, best first."""
    ranked = sorted(stage.records, key=lambda r: (r.result.broken, -r.epochs, -r.result.accuracy))
    ranges = ", ".join(f"{name} {range.low:.3g} .. {range.high:.3g}" for name, range in stage.space.items())
    broken = sum(record.result.broken for record in stage.records)
    title = f"\nStage {number + 1}: {len(ranked)} settings, {broken} broken off; {ranges}"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for heading in (*ranked[0].setting, "epochs", "accuracy", "over folds", "loss"):
        table.add_column(heading, justify="right")
    for record in ranked[:SHOWN]:
        result = record.result
        spread = f"{min(result.accuracies):.1%} .. {max(result.accuracies):.1%}" if len(result.accuracies) > 1 else ""
        accuracy = "exploded" if result.broken else f"{result.accuracy:.2%}"
        loss = "-" if result.loss is None else f"{result.loss:.3g}"
        table.add_row(*(f"{x:.3g}" for x in record.setting.values()), str(record.epochs), accuracy, spread, loss)
    return table


def _picture(stages: list["Stage"], path: Path) -> Path:
    from jax231.report.search import Scatter, write_search
    from jax231.train.tune import score

    return write_search(
        [
            Scatter(
                f"Stage {number + 1}: {max(record.epochs for record in stage.records)} epochs",
                {name: range.scale == "log" for name, range in stage.space.items()},
                [record.setting for record in stage.records],
                [score(record) for record in stage.records],
            )
            for number, stage in enumerate(stages)
        ],
        path,
    )
