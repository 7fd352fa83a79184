"""The data sets by name: load them, list them, check their files.

`load("mnist")`, `load("digits").split()`, `load_text("tiny_shakespeare")`. Files are looked for in `data_dir`, else in
the folder that JAX231_DATA names, else in the user's cache folder, where `jax231 data fetch NAME` puts them.
"""

import difflib
from pathlib import Path
from typing import Literal, NamedTuple

from jax231.data import digits as embedded
from jax231.data import text
from jax231.data.catalog import CATALOG
from jax231.data.dataset import Dataset
from jax231.data.digits import digits
from jax231.data.errors import DataError
from jax231.data.locate import Entry, data_folder, is_official, place, read

__all__ = ["NAMES", "FileReport", "Report", "Row", "check", "digits", "entry", "listing", "load", "load_text"]

NAMES = ("digits", *CATALOG)


class FileReport(NamedTuple):
    """One file: `differs` means right in structure without the official digest; `note` says more."""

    name: str
    status: Literal["found", "differs", "corrupt", "missing"]
    note: str


class Report(NamedTuple):
    """The files of one data set; `usable` if `load` would succeed."""

    name: str
    folder: str
    usable: bool
    files: list[FileReport]


class Row(NamedTuple):
    """One line of the list of data sets; `place` is the folder where it was found, or empty."""

    name: str
    title: str
    kind: str
    train: int
    test: int
    shape: list[int]
    classes: int
    licence: str
    place: str
    note: str


def entry(name: str) -> Entry:
    """What is known of a data set that comes as files.

    Raises:    ValueError with the nearest name for one that is not in the table.
    """
    if name in CATALOG:
        return CATALOG[name]
    near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"data set: expected one of {', '.join(NAMES)}; got {name!r}{hint}")


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Load labelled images by name, every file checked strictly in structure; labels may be masks, one a pixel.

    Files without the official digest are used, with a note in the log "jax231"; `Dataset.digests` records them.

    Raises:    ValueError for an unknown name or a text; MissingDataError for files that are not there; DataError for
               a file that is truncated, damaged or mislabelled.
    """
    if name == "digits":
        return digits()
    known = entry(name)
    if known.kind == "text":
        raise ValueError(f"load: expected a data set of images; got {name!r}, a text: use load_text")
    (train, test, classes), digests = read(known, data_dir)
    return Dataset(name, train, test, classes, known.source, digests, known.held_out)


def load_text(name: str = "tiny_shakespeare", data_dir: str | Path | None = None) -> text.Text:
    """Load a text by name as character codes; errors as `load`."""
    known = None if name == "digits" else entry(name)
    if known is None or known.kind != "text":
        raise ValueError(f"load_text: expected a text; got {name!r}, a data set of images: use load")
    characters, digests = read(known, data_dir)
    return text.from_string(name, characters, known.source, digests)


def check(name: str, data_dir: str | Path | None = None) -> Report:
    """Look at every file of a data set, also after the first bad one, and say what is wrong with it."""
    if name == "digits":
        return Report(name, "", True, [FileReport(file, "found", "with scikit-learn") for file in digits().digests])
    known = entry(name)
    found = place(known, data_folder(data_dir))
    reports = []
    for file, path in zip(found.edition.files, found.paths, strict=True):
        if path is None:
            reports.append(FileReport(file.name, "missing", _how(known)))
            continue
        try:
            content = path.read_bytes()
            file.parse(path, content)
        except DataError as error:
            reports.append(FileReport(path.name, "corrupt", f"expected {error.expected}; found {error.found}"))
        except OSError as error:
            reports.append(FileReport(path.name, "corrupt", f"cannot be read: {error.strerror}"))
        else:
            if is_official(file, path, content):
                reports.append(FileReport(path.name, "found", ""))
            else:
                reports.append(FileReport(path.name, "differs", f"right in structure, but not {file.digest}"))
    usable = all(report.status in ("found", "differs") for report in reports)
    return Report(name, str(found.folder), usable, reports)


def listing(data_dir: str | Path | None = None) -> list[Row]:
    """One row a data set: what it is, and where it was found or how to get it. Files are not opened."""
    root = data_folder(data_dir)
    rows = [
        Row(
            name="digits",
            title=embedded.SOURCE.title,
            kind="images",
            train=embedded.COUNT - embedded.TEST,
            test=embedded.TEST,
            shape=list(embedded.SHAPE),
            classes=10,
            licence=embedded.SOURCE.licence,
            place="scikit-learn",
            note="built in",
        )
    ]
    for known in CATALOG.values():
        found = place(known, root)
        row = Row(
            name=known.name,
            title=known.source.title,
            kind=known.kind,
            train=known.examples[0],
            test=known.examples[1],
            shape=list(known.shape),
            classes=known.classes,
            licence=known.source.licence,
            place="" if found.missing else str(found.folder),
            note=_how(known, sizes=True) if found.missing else "found",
        )
        rows.append(row)
    return rows


def _how(known: Entry, sizes: bool = False) -> str:
    """How to get a data set, in a few words."""
    if not known.downloads:
        return f"made from {known.source.page}"
    megabytes = sum(download.size for download in known.downloads) / 1e6
    return f"jax231 data fetch {known.name}" + (f" ({megabytes:.0f} MB)" if sizes else "")
