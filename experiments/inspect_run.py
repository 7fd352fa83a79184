"""What does a trained model look at, and what does it confuse? Trains a recipe, and looks inside.

    python experiments/inspect_run.py cifar10-softmax

A run that was interrupted goes on. Writes ``inspect-NAME.png`` beside the other results, and ``report.html`` into the
run folder: what ``jax231 train --recipe NAME`` and ``jax231 report RUN --picture FILE`` do, as calls of the library.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import cyclopts

from jax231.report.training.page import write_training_report
from jax231.report.training.picture import write_training_picture
from jax231.train import recipes
from jax231.train.inspect import inspect
from jax231.train.loop import train

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Config:
    """How much, and where the results go."""

    epochs: int | None = None
    """Passes over the training split (None: the recipe's)."""

    examples: int | None = None
    """Use only so many training examples (None: the recipe's)."""

    runs: Path = Path("runs")
    """Folder for the run folders."""

    data_dir: Path | None = None
    """Folder with the official files of the data sets."""

    folder: Path = HERE / "results"
    """Where the picture goes."""


def main(name: str, config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Train the recipe `name`, and show what it learned."""
    page, picture = look(name, config)
    print(f"{page}\n{picture}")


def look(name: str, config: Config) -> tuple[Path, Path]:
    """Train the recipe `name`; the page and the picture of its run."""
    recipe = recipes.load(name)
    recipe = replace(recipe, epochs=config.epochs or recipe.epochs, examples=config.examples or recipe.examples)
    run = config.runs / f"inspect-{name}"
    train(recipe, run, resume=(run / "config.toml").exists(), data_dir=config.data_dir)
    found = inspect(run, data_dir=config.data_dir, say=print)
    config.folder.mkdir(parents=True, exist_ok=True)
    picture = write_training_picture(run, config.folder / f"inspect-{name}.png", found)
    return write_training_report(run, found), picture


if __name__ == "__main__":
    cyclopts.run(main)
