"""``jax231 ensemble``: what it gains to let several networks, or several states of one, predict together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console

if TYPE_CHECKING:
    from jax231.train.ensemble import Gain, Share

from jax231.cli.listings import show
from jax231.cli.views import NONE, Views
from jax231.core.checks import require


def ensemble(
    *runs: Path,
    split: Literal["train", "validation", "test"] = "test",
    which: Literal["best", "newest"] = "best",
    data_dir: Path | None = None,
    views: Annotated[Views, Parameter(name="*", consume_multiple=True, negative_iterable=())] = NONE,
    json: bool = False,
) -> None:
    """Evaluate training runs together: the mean of the probabilities of all their members, beside each alone.

    One run will do where it has several members or snapshots, or an average of its parameters.

    Parameters
    ----------
    runs
        Run folders of the same data, for instance of several seeds.
    split
        Which examples.
    which
        The checkpoints: the best by their scores on the validation split, or the newest.
    data_dir
        Folder with the official files of the data sets; default: JAX231_DATA, else the user's cache.
    json
        Print JSON.
    """
    require(len(runs) > 0, "ensemble", "at least one run", runs=runs)
    from jax231.train.ensemble import gain
    from jax231.train.run import open_run

    console = Console(stderr=json)
    found = [open_run(run, which, say=console.print) for run in runs]
    splits = found[0].dataset(data_dir)
    part = getattr(splits, split)
    require(part is not None, "ensemble", "a split that the data have", split=split, data=splits.name)
    rows = table(gain(found, part, views.build()))
    columns = {"run": "run", "accuracy": "accuracy", "loss": "loss", "over_mean": "over the mean"}
    if any(run.config.snapshots for run in found):
        columns["over_last"] = "over the last"
    if not json:
        for row in rows:
            row["accuracy"], row["loss"] = f"{row['accuracy']:.2%}".replace("%", " %"), f"{row['loss']:.4g}"
            row |= {name: "" if row[name] is None else points(row[name]) for name in ("over_mean", "over_last")}
    show(rows, columns, json=json, title=f"{splits.name}, {split}")


def table(found: "Gain") -> list[dict[str, Any]]:
    """Each alone; of several their mean, then the first 2, 3, ... of them together, and all; last without averages.

    `over_mean` and `over_last` are gains in accuracy over the mean of the members and over the last of them, which of
    snapshots is what the run would give without them.
    """
    mean, last = found.mean.accuracy, found.members[-1].accuracy

    def row(name: str, share: "Share", *, compared: bool) -> dict[str, Any]:
        gains = (share.accuracy - mean, share.accuracy - last) if compared else (None, None)
        return {"run": name, **share._asdict(), "over_mean": gains[0], "over_last": gains[1]}

    rows = [row(name, share, compared=False) for name, share in zip(found.names, found.members, strict=True)]
    if len(rows) > 1:
        rows.append(row("mean of them", found.mean, compared=False))
        rows += [row(f"the first {k} together", share, compared=True)
                 for k, share in enumerate(found.growing[1:-1], start=2)]  # fmt: skip
        rows.append(row("ensemble", found.ensemble, compared=True))
    if found.plain_mean is not None:
        rows.append(row("without averages of parameters", found.plain_mean, compared=True))
    return rows


def points(share: float) -> str:
    """A difference of shares in points of a hundred: ``+0.31 points``."""
    return f"{100 * share:+.2f} points"
