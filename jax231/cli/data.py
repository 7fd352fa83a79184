"""``jax231 data list | fetch | check``: which data sets are there, and how to get the others."""

from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from jax231.cli.listings import show

data = App(name="data", help="List, download or check data sets.", help_format="plaintext")


@data.command(name="list")
def list_(*, json: bool = False, data_dir: Path | None = None) -> None:
    """List the data sets and where they were found.

    Parameters
    ----------
    json
        Print JSON.
    data_dir
        Folder with the official files; default: JAX231_DATA, else the user's cache.
    """
    from jax231.data import sources

    rows = [row._asdict() for row in sources.listing(data_dir)]
    for row in rows:
        row["images"] = f"{row['train']:,} + {row['test']:,}"
        row["size"] = "x".join(map(str, row["shape"]))
        row["where"] = row["place"] or row["note"]
    columns = {"name": "name", "images": "train + test", "size": "shape", "classes": "classes", "where": "where"}
    show(rows, columns, json=json, title="Data sets")


@data.command
def fetch(name: str, *, data_dir: Path | None = None) -> None:
    """Download a data set from its official place: resumable, checked by digest.

    Parameters
    ----------
    name
        Data set, as `jax231 data list` names it.
    data_dir
        Folder for the files; default: JAX231_DATA, else the user's cache.
    """
    from jax231.data.fetch import fetch

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = {}

        def hear(file: str, done: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file, total=total or None)
            progress.update(tasks[file], completed=done)

        report = fetch(name, data_dir, hear)
    Console().print(f"{report.name} is in {report.folder}", soft_wrap=True)


@data.command
def check(*names: str, json: bool = False, data_dir: Path | None = None) -> int:
    """Check the files of data sets: structure and digests. Exit code 1 where one is missing or corrupt.

    Parameters
    ----------
    names
        Data sets; default: all that come as files.
    json
        Print JSON.
    data_dir
        Folder with the official files; default: JAX231_DATA, else the user's cache.
    """
    from jax231.data import sources

    reports = [sources.check(name, data_dir) for name in names or sources.NAMES]
    rows = [
        {"set": report.name, "folder": report.folder, "usable": report.usable, **file._asdict()}
        for report in reports
        for file in report.files
    ]
    columns = {"set": "data set", "name": "file", "status": "status", "note": "note"}
    show(rows, columns, json=json, title="Files")
    return 0 if all(report.usable for report in reports) else 1
