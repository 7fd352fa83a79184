"""``jax231 report``: the page and the picture of a comparison or of a training run."""

from pathlib import Path
from typing import Literal

from rich.console import Console

from jax231.core.checks import require

WORST = 24


def report(
    run: Path,
    *,
    picture: Path | None = None,
    split: Literal["train", "validation", "test"] | None = None,
    which: Literal["best", "newest"] = "best",
    worst: int = WORST,
    member: int = 0,
    data_dir: Path | None = None,
) -> None:
    """Make report.html of a comparison or of a training run from its files.

    The page of a training run shows its curves, what it confuses, its worst examples and its first layer, or what a
    text model writes; of a run that is still going or was interrupted, what there is. Members and snapshots of a run
    are shown each alone and together, as they predict.

    Parameters
    ----------
    run
        The run folder, for instance runs/compare-digits or runs/lenet-mnist.
    picture
        Also draw the comparison, or the curves of the training run, into this .png or .svg file.
    split
        Examples that a training run is judged by; default: the test split, of a text the validation split.
    which
        The checkpoint of a training run: the best by its score on the validation split, or the newest.
    worst
        How many examples of highest loss are shown of a training run.
    member
        Which of several members or snapshots the first layer is shown of, counted from 0.
    data_dir
        Folder with the official files of the data sets; default: JAX231_DATA, else the user's cache.
    """
    from jax231.report.training.read import kind

    console = Console()
    if kind(run) == "training run":
        _training(console, run, picture, split, which, worst, member, data_dir)
        return
    given = {"split": split, "which": None if which == "best" else which, "worst": None if worst == WORST else worst,
             "member": member or None}  # fmt: skip
    asked = {name: value for name, value in {**given, "data_dir": data_dir}.items() if value is not None}
    require(not asked, "report", "only --picture for the report of a comparison", **asked)
    from jax231.report.page import write_report

    _say(console, "report", write_report(run).resolve().as_uri())
    if picture is not None:
        from jax231.report.picture import write_picture

        _say(console, "picture", write_picture(run, picture))


def _training(
    console: Console,
    run: Path,
    picture: Path | None,
    split: Literal["train", "validation", "test"] | None,
    which: Literal["best", "newest"],
    worst: int,
    member: int,
    data_dir: Path | None,
) -> None:
    from jax231.report.training.page import write_training_report
    from jax231.train.inspect import inspect

    with console.status("Looking at the run"):
        found = inspect(run, which=which, split=split, worst=worst, member=member, data_dir=data_dir, say=console.print)
    for note in found.notes:
        console.print(note, soft_wrap=True, highlight=False)
    _say(console, "report", write_training_report(run, found).resolve().as_uri())
    if picture is not None:
        from jax231.report.training.picture import write_training_picture

        _say(console, "picture", write_training_picture(run, picture, found))


def _say(console: Console, what: str, where: object) -> None:
    console.print(f"{what}: {where}", soft_wrap=True, highlight=False)
