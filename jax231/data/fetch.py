"""Download a data set from its official place: resumed where it stopped, checked by digest, written whole."""

import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from jax231.data import sources
from jax231.data.errors import DataError, FetchError
from jax231.data.locate import Download, Entry, data_folder, place, remedy

PIECE = 1 << 18
TIMEOUT = 30  # seconds without a byte

Progress = Callable[[str, int, int], None]


def fetch(name: str, data_dir: str | Path | None = None, progress: Progress | None = None) -> sources.Report:
    """Make sure that a data set is there, and return the report of its files.

    Nothing is downloaded for a set that is there and right in structure. An interrupted download leaves a `.part` file,
    from which the next call goes on. `progress(file, done, total)` is told the bytes.

    Raises:    ValueError for an unknown name; FetchError if no mirror answers or the content has another digest, and
               for a set that nobody offers for download, with which file to put where.
    """
    report = sources.check(name, data_dir)
    if report.usable:
        return report
    root, known = data_folder(data_dir), sources.entry(name)
    folder = place(known, root).folder
    if not known.downloads:
        files = ", ".join(file.name for file in report.files)
        raise FetchError(f"{name}: expected {files} in {folder}; {remedy(known, root)}")
    needed = {file.name.removesuffix(".gz") for file in report.files if file.status in ("missing", "corrupt")}
    for download in known.downloads:
        if download.archive:
            _fetch_archive(known, download, root, progress)
        elif download.name.removesuffix(".gz") in needed:
            _fetch_one(known, download, folder, progress)
    return sources.check(name, data_dir)


def _fetch_archive(known: Entry, download: Download, root: Path, progress: Progress | None) -> None:
    """Unpack the archive that a user has put there, else download it, unpack it and remove it again."""
    archive = root / download.name
    was_there = archive.is_file() and _digest(archive, download) == download.digest
    if not was_there:
        _fetch_one(known, download, root, progress)
    _unpack(archive, known, root)
    if not was_there:
        archive.unlink()


def _fetch_one(known: Entry, download: Download, folder: Path, progress: Progress | None) -> None:
    """Download one file into `folder`, whole and with the right digest."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / download.name
    part = target.with_name(target.name + ".part")
    with part.open("ab") as file:
        _lock(file, known, part)
        failures = []
        for url in download.urls * 2:  # every mirror twice, each time from where the last one stopped
            try:
                _transfer(url, file, download, progress)
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{url}: {error or type(error).__name__}")
            else:
                break
        else:
            raise FetchError(_by_hand(known, download, folder, list(dict.fromkeys(failures))))
        file.flush()
        os.fsync(file.fileno())
        found = _digest(part, download)
        if found != download.digest:
            part.unlink()
            problem = f"{part}: expected {download.digest}, found {found} ({file.tell()} bytes; removed)"
            raise FetchError(_by_hand(known, download, folder, [problem]))
        part.replace(target)


def _lock(file: BinaryIO, known: Entry, part: Path) -> None:
    """Two processes must not append to one file; the lock goes with the process, however it ends."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FetchError(f"{known.name}: another process is downloading {part}") from None


def _transfer(url: str, file: BinaryIO, download: Download, progress: Progress | None) -> None:
    """Append to `file` what is missing of `url`; OSError where the connection ends early."""
    done = file.seek(0, os.SEEK_END)
    if done >= download.size:  # whole already, or too long: the digest decides
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        _require_size(answer, download.size)
        if done and answer.status != http.client.PARTIAL_CONTENT:  # no resuming here: all of it comes again
            file.truncate(0)
            done = file.seek(0)
        while piece := answer.read(PIECE):
            file.write(piece)
            done += len(piece)
            if progress is not None:
                progress(download.name, done, download.size)
    if done < download.size:
        raise ConnectionError(f"the connection ended after {done} of {download.size} bytes")


def _require_size(answer: http.client.HTTPResponse, size: int) -> None:
    """Refuse another file (a log-in page of a public network, say) before it is mixed into the `.part` file."""
    total = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
    if total.isdigit() and int(total) != size:
        raise ConnectionError(f"the server offers {total} bytes, expected {size}")


def _digest(path: Path, download: Download) -> str:
    algorithm = download.digest.partition(":")[0]
    with path.open("rb") as file:
        hashed = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{hashed.hexdigest()}"


def _unpack(archive: Path, known: Entry, root: Path) -> None:
    """Unpack beside the data, then move the files of the edition into place one by one, each whole."""
    edition = known.editions[0]
    folder = edition.folders[0]
    with tempfile.TemporaryDirectory(dir=root, prefix=f"{known.name}.") as scratch:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(archive, "a tar archive of the data set", str(error)) from error
        (root / folder).mkdir(exist_ok=True)
        for file in edition.files:
            shutil.move(Path(scratch, folder, file.name), root / folder / file.name)


def _by_hand(known: Entry, download: Download, folder: Path, problems: list[str]) -> str:
    again = ", then fetch again: it is unpacked from there" if download.archive else ""
    return (
        f"{known.name}: could not download {download.name} ({'; '.join(problems)}). Without a network, bring the file "
        f"({download.size} bytes, {download.digest}) from {download.urls[0]} and put it into {folder}{again}"
    )
