"""``jax231 data list | fetch | check``: which data sets are there, and how to get the others."""

from pathlib import Path
from typing import Any

from cyclopts import App
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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
def check(*names: str, json: bool = False, data_dir: Path | None = None, workers: int | None = None) -> int:
    """Check the files of data sets: structure and digests; of a folder of images, that each can be decoded.

    Exit code 1 where a file is missing or corrupt.

    Parameters
    ----------
    names
        Data sets, or folders with one subfolder of images a class; default: all sets that come as files.
    json
        Print JSON.
    data_dir
        Folder with the official files; default: JAX231_DATA, else the user's cache.
    workers
        Threads that decode images; default: one a processor.
    """
    from jax231.data import sources

    rows = []
    for name in names or sources.NAMES:
        if name not in sources.NAMES and ("/" in name or Path(name).is_dir()):
            rows += _folder_rows(Path(name), workers)
            continue
        report = sources.check(name, data_dir)
        place = {"set": report.name, "folder": report.folder, "usable": report.usable}
        rows += [place | file._asdict() for file in report.files]
    columns = {"set": "data set", "name": "file", "status": "status", "note": "note"}
    show(rows, columns, json=json, title="Files")
    return 0 if all(row["usable"] for row in rows) else 1


def _folder_rows(folder: Path, workers: int | None) -> list[dict[str, Any]]:
    """A row for all images that can be decoded, the whole ones, and one for each of the others."""
    from jax231.data.check import check_folder
    from jax231.measure import machine

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(str(folder), total=None)

        def hear(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        report = check_folder(folder, machine.cores() if workers is None else workers, hear)
    usable, count = not report.bad, sum(report.whole.values())
    splits = ", ".join(f"{number:,} {split}" for split, number in report.whole.items())
    ends = " to ".join(dict.fromkeys(f"{h}x{w}" for h, w in (report.smallest, report.largest)))
    note = f"{splits}; {report.classes} classes; {ends}"
    place = {"set": folder.name, "folder": str(folder), "usable": usable}
    if report.bad:
        note += f"; without {len(report.bad):,} damaged of {count + len(report.bad):,} files"
    whole = {"name": f"{count:,} whole images", "status": "found", "note": note}
    return [place | whole, *(place | {"name": name, "status": "corrupt", "note": found}
                             for name, found in report.bad.items())]  # fmt: skip
