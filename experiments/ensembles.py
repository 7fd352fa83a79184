"""What do ensembles gain? Five seeds, the snapshots of one run, an average of its parameters, views of an image.

    python experiments/ensembles.py

Each is trained a few times from other seeds, always for the same number of epochs: five seeds cost five runs, snapshots
and averages one, views none. A gain is in points of accuracy on the test split over what it replaces: the mean of the
seeds alone; for snapshots one run of the same length whose rate falls once, and the last of them; the same run without
its average; the same networks with one view. Writes ``ensembles.json`` and ``.png`` beside the other results and the
table in ``experiments/README.md``.
"""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import cyclopts
import matplotlib
import msgspec
import numpy as np
from command_line import as_called
from document import replace_between

from jax231.core.files import write_whole
from jax231.core.types import Batch
from jax231.data.views import named
from jax231.measure import machine
from jax231.train import ensemble
from jax231.train.config import Config as Training
from jax231.train.config import plain
from jax231.train.loop import train
from jax231.train.predict import each
from jax231.train.run import Run, open_run

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from jax231.report.style import COLORS

HERE = Path(__file__).resolve().parent
BEGIN = "<!-- ensembles:begin, made by `python experiments/ensembles.py` -->"
END = "<!-- ensembles:end -->"

NETWORK: dict[str, Any] = {
    "model": "pattern_batch_norm",
    "optimizer": "adam",
    "rate": 0.003,
    "schedule": "one_cycle",
    "validation": 0,
}
DIGITS = Training(
    **NETWORK, data="digits", arguments={"n": 1, "m": 2, "channels": 16, "units": 64}, batch=64, epochs=15,
    augment=("pad_crop",),
)  # fmt: skip
MNIST = Training(
    **NETWORK, data="mnist", arguments={"n": 1, "m": 2, "channels": 8, "units": 64}, batch=64, epochs=6, examples=1500,
    augment=("pad_crop",),
)  # fmt: skip
CIFAR10 = Training(
    **NETWORK, data="cifar10", arguments={"n": 1, "m": 2, "channels": 8, "units": 64}, batch=64, epochs=6,
    examples=3000, augment=("flip", "pad_crop"),
)  # fmt: skip
SEEN: dict[str, tuple[str, ...]] = {
    "digits": ("five_crop",),
    "mnist": ("five_crop",),
    "cifar10": ("flip", "five_crop", "ten_crop", "multi_scale"),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """How often, how many together, and where the results go."""

    repeats: int = 3
    """How often everything is trained, from other seeds; all at once, as members of one program."""

    members: int = 5
    """Seeds that predict together."""

    snapshots: int = 3
    """Snapshots of one run, taken at the ends of as many cycles."""

    growth: float = 2.0
    """How many times as long each cycle is as the one before; 1 makes them equal."""

    decay: float = 0.98
    """Of the moving average of parameters, in a run of constant rate."""

    tested: int = 2000
    """Test examples, the first ones, that are predicted."""

    epochs: int | None = None
    """Passes over the training splits (None: 15 over digits, 6 over the others)."""

    only: tuple[str, ...] = ()
    """Data sets among digits, mnist, cifar10; none means all."""

    data_dir: Path | None = None
    """Folder with the official files of the data sets."""

    folder: Path = HERE / "results"
    """Where the results go."""

    document: Path = HERE / "README.md"
    """A document with the markers of the table."""


def main(config: Annotated[Config, cyclopts.Parameter(name="*", consume_multiple=True)] = Config()) -> None:
    """Measure every gain, and write down what was found; data sets measured before keep their rows."""
    for base in (DIGITS, MNIST, CIFAR10):
        if not config.only or base.data in config.only:
            with tempfile.TemporaryDirectory() as folder:
                rows = measured(replace(base, epochs=config.epochs or base.epochs), config, Path(folder))
            _write(rows, config)


def _write(rows: list[dict[str, Any]], config: Config) -> None:
    path = config.folder / "ensembles.json"
    if path.exists():
        before = msgspec.json.decode(path.read_bytes())["rows"]
        rows = [row for row in before if row["data"] != rows[0]["data"]] + rows
    measured_sets = {row["data"] for row in rows}
    numbers = ("repeats", "members", "snapshots", "growth", "decay", "tested", "epochs")
    facts = {
        "command": as_called("ensembles"),
        "config": {name: x for name, x in asdict(config).items() if name in numbers},
        "trained": {base.data: plain(base) for base in (DIGITS, MNIST, CIFAR10) if base.data in measured_sets},
        "device": machine.device(),
        "versions": machine.versions(),
        "rows": rows,
    }
    config.folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, msgspec.json.format(msgspec.json.encode(facts)))
    _draw(rows, config.folder / "ensembles.png")
    if config.document.exists() and BEGIN in config.document.read_text():
        replace_between(config.document, BEGIN, END, table(rows))


def measured(base: Training, config: Config, folder: Path) -> list[dict[str, Any]]:
    """The gains on one data set; all repeats are members of the same three programs."""
    lengths = sum(config.growth**i for i in range(config.snapshots))
    restarts: dict[str, Any] = {
        "schedule": "warm_restarts", "cycle": base.epochs / lengths, "growth": config.growth,
    }  # fmt: skip
    several = _trained(replace(base, members=config.repeats * config.members), folder / "members", config)
    kept = replace(base, members=config.repeats, snapshots=config.snapshots, **restarts)
    cycles = _trained(kept, folder / "snapshots", config)
    constant = replace(base, members=config.repeats, schedule="constant", ema=config.decay)
    averages = _trained(constant, folder / "average", config)
    images, labels = _first(several.dataset(config.data_dir).test, config.tested)
    said = {
        "seeds": each(several, images),
        "snapshots": each(cycles, images),
        "average": each(averages, images),
        "plain": each(averages, images, plain=True),
    } | {name: each(several, images, named(name)) for name in SEEN[base.data]}
    rows = []
    for repeat in range(config.repeats):
        here = {name: ensemble.gain_of(np.split(x, config.repeats)[repeat], labels) for name, x in said.items()}
        mean, together, snapshots = here["seeds"].mean, here["seeds"].ensemble, here["snapshots"]
        growing = [share.accuracy for share in here["seeds"].growing]
        count = f"{config.snapshots} snapshots"
        found = [
            _row(f"{config.members} seeds", config.members, mean, together) | {"growing": growing},
            _row(f"{count}, over one run without restarts", 1, mean, snapshots.ensemble),
            _row(f"{count}, over the last of them", 1, snapshots.members[-1], snapshots.ensemble),
            _row("average of parameters at a constant rate", 1, here["plain"].mean, here["average"].mean),
            *(_row(f"views: {name}", 0, mean, here[name].mean) for name in SEEN[base.data]),
        ]
        for row in found:
            gain = 100 * (row["accuracy"] - row["without"])
            print(f"{base.data} {repeat}: {row['what']}: {row['accuracy']:.2%}, {gain:+.2f} points", flush=True)
        rows += [{"data": base.data, "repeat": repeat, **row} for row in found]
    return rows


def _trained(training: Training, folder: Path, config: Config) -> Run:
    train(training, folder, data_dir=config.data_dir, save_seconds=3600.0)
    return open_run(folder, "newest")


def _first(part: Batch | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    assert part is not None, "all data sets here have a test split"
    return np.asarray(part.inputs[:count]), np.asarray(part.targets[:count])


def _row(what: str, runs: int, without: ensemble.Share, found: ensemble.Share) -> dict[str, Any]:
    """What was reached with it and without; `runs` is what it costs to train."""
    return {"what": what, "runs": runs, "without": without.accuracy, "accuracy": found.accuracy,
            "loss_without": without.loss, "loss": found.loss}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Means over repeats, with the least and the largest gain."""
    lines = [
        "| data | what | runs trained | without | with | gain, points (least .. largest) | loss without | with |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for data, what in dict.fromkeys((row["data"], row["what"]) for row in rows):
        some = [row for row in rows if (row["data"], row["what"]) == (data, what)]
        gains = [100 * (row["accuracy"] - row["without"]) for row in some]
        without, found, before, after = (fmean(row[key] for row in some)
                                         for key in ("without", "accuracy", "loss_without", "loss"))  # fmt: skip
        lines.append(
            f"| {data} | {what} | {some[0]['runs'] or 'none more'} | {100 * without:.2f} % | {100 * found:.2f} % | "
            f"{fmean(gains):+.2f} ({min(gains):+.2f} .. {max(gains):+.2f}) | {before:.4f} | {after:.4f} |"
        )
    return "\n".join(lines) + "\n"


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Gains of all repeats as points, by data set; and how the ensemble grows with its seeds."""
    sets = list(dict.fromkeys(row["data"] for row in rows))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=(3, 2))
    kinds = list(dict.fromkeys(row["what"] for row in rows))
    for place, data in enumerate(sets):
        color = COLORS[place][0]
        some = [row for row in rows if row["data"] == data]
        gains = [100 * (row["accuracy"] - row["without"]) for row in some]
        heights = [kinds.index(row["what"]) + 0.18 * (place - (len(sets) - 1) / 2) for row in some]
        axes[0].scatter(gains, heights, color=color, s=18, label=data)
        for row in some:
            if "growing" in row:
                curve = [100 * (x - row["without"]) for x in row["growing"]]
                axes[1].plot(range(1, len(curve) + 1), curve, color=color, linewidth=1.3, marker="o", markersize=3)
    axes[0].axvline(0, color="#8a9099", linewidth=0.8)
    axes[0].set_yticks(range(len(kinds)), kinds)
    axes[0].invert_yaxis()
    axes[0].set_xlabel("gain in accuracy, points; a dot a repeat")
    axes[0].legend(frameon=False)
    axes[1].set_title("the first k seeds together", loc="left")
    axes[1].set_xlabel("k")
    axes[1].set_ylabel("over the mean of seeds alone, points")
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    cyclopts.run(main)
