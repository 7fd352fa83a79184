"""Where the files of a data set are: the data folder, the editions that may lie there, their digests."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jax231.core.files import cache_folder
from jax231.data.dataset import Source
from jax231.data.errors import MissingDataError

log = logging.getLogger("jax231")


class File(NamedTuple):
    """One file of an edition: its name, its official digest ("md5:..." or "sha256:...") and its strict reader."""

    name: str
    digest: str
    parse: Callable[[Path, bytes], Any]


class Edition(NamedTuple):
    """One form in which a data set is distributed; `assemble` joins what the readers of `files` return."""

    folders: tuple[str, ...]
    files: tuple[File, ...]
    assemble: Callable[..., Any]


class Download(NamedTuple):
    """A file to download: its name, mirrors, official digest and size; an archive is unpacked in the data folder."""

    name: str
    urls: tuple[str, ...]
    digest: str
    size: int
    archive: bool = False


class Entry(NamedTuple):
    """What is known of a data set before any file of it is there."""

    name: str
    kind: str
    source: Source
    shape: tuple[int, ...]
    classes: int
    examples: tuple[int, int]
    held_out: int
    editions: tuple[Edition, ...]
    downloads: tuple[Download, ...]


def remedy(entry: Entry, root: Path) -> str:
    """How a data set gets to its folder: downloaded, or made by hand where there is nothing to download."""
    if entry.downloads:
        return f"`jax231 data fetch {entry.name}` downloads them to {root}"
    return (
        f"nothing offers them for download: they are made from {entry.source.page}, as `jax231.data.{entry.name}` says"
    )


class Place(NamedTuple):
    """The edition of a data set that is there, or is nearest to it; None stands for a file that is missing."""

    edition: Edition
    folder: Path
    paths: tuple[Path | None, ...]

    @property
    def missing(self) -> list[str]:
        """Names of the files that are not there."""
        return [file.name for file, path in zip(self.edition.files, self.paths, strict=True) if path is None]


def data_folder(data_dir: str | Path | None = None) -> Path:
    """The argument, else the environment variable JAX231_DATA, else `jax231` in the user's cache folder."""
    if data_dir is not None:
        return Path(data_dir).expanduser()
    if named := os.environ.get("JAX231_DATA"):
        return Path(named).expanduser()
    return cache_folder()


def place(entry: Entry, root: Path) -> Place:
    """The edition with the fewest files missing under `root`, the first of them on a tie."""
    candidates = [
        Place(edition, root / folder, tuple(_existing(root / folder, file.name) for file in edition.files))
        for edition in entry.editions
        for folder in edition.folders
    ]
    return min(candidates, key=lambda candidate: len(candidate.missing))


def _existing(folder: Path, name: str) -> Path | None:
    """The file itself or, for NAME.gz, its unpacked form NAME."""
    paths = (folder / name, folder / name.removesuffix(".gz"))
    return next((path for path in paths if path.is_file()), None)


def require_complete(entry: Entry, found: Place, root: Path) -> None:
    """Raise `MissingDataError` with folder, files and remedy unless every file is there."""
    if found.missing:
        state = "only other files" if found.folder.is_dir() else "no such folder"
        raise MissingDataError(
            f"{entry.name}: expected {', '.join(found.missing)} in {found.folder}; found {state}. "
            f"{remedy(entry, root)}; --data-dir or JAX231_DATA names another folder"
        )


def digest(content: bytes, algorithm: str) -> str:
    """The digest as it is written in the table: ``"md5:c58f..."``."""
    return f"{algorithm}:{hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()}"


def is_official(file: File, path: Path, content: bytes) -> bool:
    """Whether the content has the official digest; True where no official digest is known for this form."""
    if not file.digest or path.name != file.name:
        return True
    return digest(content, file.digest.partition(":")[0]) == file.digest


def read(entry: Entry, data_dir: str | Path | None = None) -> tuple[Any, dict[str, str]]:
    """Read and check all files of a data set: what its edition assembles, and the SHA-256 of every file.

    Files that are right in structure but have not the official digest are used, and named in one logged note.

    Raises:    MissingDataError, or DataError for the first file with a wrong structure.
    """
    root = data_folder(data_dir)
    found = place(entry, root)
    require_complete(entry, found, root)
    parsed, digests, differing = [], {}, []
    for file, path in zip(found.edition.files, found.paths, strict=True):
        assert path is not None
        content = path.read_bytes()
        parsed.append(file.parse(path, content))
        digests[path.relative_to(root).as_posix()] = digest(content, "sha256").removeprefix("sha256:")
        if not is_official(file, path, content):
            differing.append(file.name)
    if differing:
        log.warning(
            "%s: %s in %s have not the official digests; their structure is right, and they are used as they are",
            entry.name,
            ", ".join(differing),
            found.folder,
        )
    return found.edition.assemble(*parsed), digests
