"""What does a recipe reach? Trains it from several seeds, and draws its curves.

    python experiments/train_recipe.py mnist-convnet --seeds 1
    python experiments/train_recipe.py digits-convnet --seeds 5

A run that was interrupted goes on. Writes ``recipe-NAME.json`` and ``.png`` beside the other results, of a text also
``recipe-NAME.txt``, which the model of seed 0 wrote, and the table of all recipes in ``experiments/README.md``.
`seconds` are those of the training steps, `wall` all of the process: reading, compiling, evaluating and writing too.
`processor` are the seconds of all cores together, which other work on the machine changes less; that there was some is
said where more than two processes a core were ready to run. The measure is the share of right answers, of masks the
mean IoU, of a text the loss.
"""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import cyclopts
import matplotlib
import msgspec
from document import replace_between

from jax231.core.files import write_whole
from jax231.measure import machine
from jax231.train import recipes
from jax231.train.loop import train
from jax231.train.run import open_run
from jax231.train.sample import sample

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from jax231.report.style import COLORS

HERE = Path(__file__).resolve().parent
BUSY = 2
"""Processes ready to run a core, in the mean of five minutes, above which the seconds tell little."""

SAMPLES = {"length": 1000, "temperature": 0.7, "prompt": "\n"}
"""What is asked of a model of text."""
BEGIN = "<!-- recipes:begin, made by `python experiments/train_recipe.py NAME` -->"
END = "<!-- recipes:end -->"


@dataclass(frozen=True, kw_only=True)
class Config:
    """How often, and where the results go."""

    seeds: int = 1
    """Runs, each from a seed of its own: 0, 1, ..."""

    epochs: int | None = None
    """Passes over the training split (None: the recipe's)."""

    examples: int | None = None
    """Use only so many training examples (None: the recipe's)."""

    runs: Path = Path("runs")
    """Folder for the run folders."""

    data_dir: Path | None = None
    """Folder with the official files of the data sets."""

    folder: Path = HERE / "results"
    """Where the results go."""

    document: Path = HERE / "README.md"
    """A document with the markers of the table."""


def main(name: str, config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Train the recipe `name` from several seeds, and write down what was reached."""
    measure(name, config)


def measure(name: str, config: Config) -> dict[str, Any]:
    """Train the recipe `name` from several seeds; what was reached."""
    recipe = recipes.load(name)
    recipe = replace(recipe, epochs=config.epochs or recipe.epochs, examples=config.examples or recipe.examples)
    rows = []
    for seed in range(config.seeds):
        run = config.runs / f"recipe-{name}-{seed}"
        begin, before = time.perf_counter(), time.process_time()
        resume = (run / "config.toml").exists()
        result = train(replace(recipe, seed=seed), run, resume=resume, data_dir=config.data_dir)
        wall, processor = time.perf_counter() - begin, time.process_time() - before
        records = [msgspec.json.decode(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
        seconds = sum(record["seconds"] for record in records if record["kind"] == "chunk")
        epochs = [record for record in records if record["kind"] == "epoch"]
        found = result.test or result.validation
        assert found is not None
        split = "validation" if result.test is None else "test"
        rows.append({"seed": seed, "split": split, **found._asdict(), "seconds": seconds, "wall": wall,
                     "processor": processor, "load": os.getloadavg()[1], "resumed": resume,
                     "epochs": epochs})  # fmt: skip
        overlap = "" if found.mean_iou is None else f", mean IoU {found.mean_iou:.2%}"
        print(
            f"{name}, seed {seed}: {split} loss {found.loss:.4g}, accuracy {found.accuracy:.2%}{overlap}; {wall:.0f} s"
        )
    facts = {
        "recipe": name,
        "about": recipes.about(name),
        "command": f"python experiments/train_recipe.py {name} --seeds {config.seeds}",
        "device": machine.device(),
        "versions": machine.versions(),
        "runs": rows,
    }
    config.folder.mkdir(parents=True, exist_ok=True)
    write_whole(config.folder / f"recipe-{name}.json", msgspec.json.format(msgspec.json.encode(facts)))
    _draw(facts, config.folder / f"recipe-{name}.png")
    written = open_run(config.runs / f"recipe-{name}-0")
    if written.entry.form == "tokens":
        text = "\n\n--\n\n".join(sample(written, **SAMPLES, seed=seed).strip() for seed in range(2))
        write_whole(config.folder / f"recipe-{name}.txt", f"{text}\n".encode())
    if config.document.exists() and BEGIN in config.document.read_text():
        replace_between(config.document, BEGIN, END, table(config.folder))
    return facts


def table(folder: Path) -> str:
    """All results in the folder as a table, and after them the recipes that have none."""
    lines = [
        "| recipe | result: mean (worst .. best) over seeds | seeds | loss | steps, s | whole run, s | processor, s "
        "| device |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    measured = set()
    for path in sorted(folder.glob("recipe-*.json")):
        facts = msgspec.json.decode(path.read_bytes())
        measured.add(facts["recipe"])
        runs = facts["runs"]
        key, what = ("accuracy", "") if runs[0]["mean_iou"] is None else ("mean_iou", "mean IoU ")
        values = [run[key] for run in runs]
        shares = f"{what}{100 * fmean(values):.2f} % ({100 * min(values):.2f} .. {100 * max(values):.2f})"
        device = facts["device"]
        where = f"{device.get('cpu') or device['kind']}, {device['cores']} cores"
        busy = max(run.get("load", 0) for run in runs) > BUSY * device["cores"]
        where += " that were busy with other work, too" if busy else ""
        loss, seconds, wall = (fmean(run[key] for run in runs) for key in ("loss", "seconds", "wall"))
        known = all("processor" in run and not run["resumed"] for run in runs)
        processor = f"{fmean(run['processor'] for run in runs):.0f}" if known else ""
        said = f"{runs[0]['split']} {shares}"
        lines.append(
            f"| [{facts['recipe']}](results/{path.stem}.png) | {said} | {len(runs)} | {loss:.4g} | {seconds:.0f} | "
            f"{wall:.0f} | {processor} | {where} |"
        )
    lines += [
        f"| {name} | {text if 'not measured' in text else f'not measured yet: {text}'} | | | | | | |"
        for name, text in ((name, recipes.about(name)) for name in recipes.names())
        if name not in measured
    ]
    return "\n".join(lines) + "\n"


def _draw(facts: dict[str, Any], path: Path) -> None:
    """The measures by epoch, of training and of validation where the recipe holds examples out."""
    keys = ("loss", "accuracy") if facts["runs"][0]["mean_iou"] is None else ("loss", "accuracy", "mean_iou")
    figure, axes = plt.subplots(1, len(keys), figsize=(4.5 * len(keys), 3.4), layout="constrained")
    for axis, key in zip(axes, keys, strict=True):
        for run in facts["runs"]:
            epochs = [record["epoch"] for record in run["epochs"]]
            for (color, _), prefix in zip(COLORS, ("", "validation_"), strict=False):
                values = [record.get(prefix + key) for record in run["epochs"]]
                if all(value is not None for value in values):
                    label = (prefix.strip("_") or "training") if run["seed"] == 0 else None
                    axis.plot(epochs, values, color=color, label=label, alpha=0.9, linewidth=1.4)
        axis.set_xlabel("epoch")
        axis.set_title(key.replace("_iou", " IoU"), loc="left")
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].legend(frameon=False)
    figure.suptitle(facts["about"], x=0.01, ha="left", fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    cyclopts.run(main)
