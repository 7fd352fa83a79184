"""``jax231 doctor``: is this model fit to be trained on these data?"""

import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from jax231.train.config import Config, CorruptName, CropName

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}
EXAMPLES = 4096
"""Training examples that the checks see."""


def doctor(
    *,
    model: str = "convnet",
    data: str = "digits",
    optimizer: str = "nesterov",
    rate: float | None = None,
    batch: int = 64,
    arguments: dict[str, int | float | bool | str] | None = None,
    dropout: float | None = None,
    preprocess: str = "per_channel",
    size: int | None = None,
    crop: CropName = "none",
    corrupt: CorruptName = "refuse",
    seed: int = 0,
    layers: bool = False,
    json: bool = False,
    data_dir: Path | None = None,
) -> int:
    """Check a model and a data set before training, as the course says; exit code 1 where a check fails.

    Initial loss near its theoretical value, loss rises with regularization, activations and dead units, gradient
    against differences in float64, overfits 20 examples, learning-rate range test, update-to-weight ratio.

    Parameters
    ----------
    model
        Model; `jax231 models` lists them.
    data
        Data set (`jax231 data list`), or the path of a folder with one subfolder of images a class, or of a text.
    optimizer
        Optimizer of the last two checks; `jax231 optimizers` describes them and lists the usual step sizes of each.
    rate
        Step size for the update-to-weight ratio; default: what the range test suggests.
    batch
        Examples a step.
    arguments
        Arguments of the model, as in --arguments.hidden 256.
    dropout
        Share of units that dropout silences, in models that have it.
    preprocess
        Preprocessing of images: none, mean_image, per_channel_mean, per_channel, standardize.
    size
        Pixels a side to which the images of a folder are resized; default: as they are.
    crop
        What is resized to the size of an image in a folder: all of it (none) or its centre (center, and random, whose
        parts are for training).
    corrupt
        What becomes of damaged images in a folder: the checks end and name the first, or do without them (skip).
    seed
        Seed of the first parameters.
    layers
        Also list the activations of every layer.
    json
        Print JSON.
    data_dir
        Folder with the official files of the data sets; default: JAX231_DATA, else the user's cache.
    """
    from jax231.train import case as cases
    from jax231.train import doctor as checks

    chosen: dict[str, Any] = {
        "model": model, "data": data, "optimizer": optimizer, "rate": rate, "batch": batch, "dropout": dropout,
        "arguments": arguments or {}, "preprocess": preprocess, "size": size, "crop": crop,
        "corrupt": corrupt, "seed": seed,
    }  # fmt: skip
    begin, console = time.monotonic(), Console(stderr=json)
    case = cases.of_config(Config(**chosen), EXAMPLES, data_dir)
    done = []
    with console.status("loading") as status:
        for check in checks.checks(case, optimizer, rate, batch):
            done.append(check)
            status.update(f"{check.name}: {check.verdict}")
    said = checks.advice(done)
    failed = any(check.verdict == "failed" for check in done)
    if json:
        record = {"model": model, "data": data, "checks": [check._asdict() for check in done], "advice": said}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(record)).decode() + "\n")
        return int(failed)
    table = Table(title=f"{model} on {data}", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold",
                  pad_edge=False)  # fmt: skip
    table.add_column("check", style="bold", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in done:
        table.add_row(check.name, f"[{COLOURS[check.verdict]}]{check.verdict}[/]", check.found)
    console.print(table)
    if layers:
        console.print(_layers(next(check.numbers["layers"] for check in done if check.name == "activations")))
    for line in said:
        console.print(f"- {line}", highlight=False)
    console.print(f"\n{time.monotonic() - begin:.0f} s")
    return int(failed)


def _layers(rows: list[dict[str, Any]]) -> Table:
    """The activations of every layer; shares are those of what a layer reads."""
    table = Table(title="Activations", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("layer", style="bold", overflow="fold")
    table.add_column("kind")
    for heading in ("mean", "std", "zeros read", "dead", "saturated"):
        table.add_column(heading, justify="right")
    for row in rows:
        shares = ("" if row[key] is None else f"{row[key]:.1%}" for key in ("zeros", "dead", "saturated"))
        table.add_row(row["name"], row["kind"], f"{row['mean']:.3g}", f"{row['std']:.3g}", *shares)
    return table
