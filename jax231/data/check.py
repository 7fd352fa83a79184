"""Every image file of a folder looked at: which of them training would refuse."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax231.data.decode import Form, Size, read_image
from jax231.data.errors import DataError
from jax231.data.folders import list_folder

PORTION = 32
"""Files that a worker looks at before it says so."""


class FolderReport(NamedTuple):
    """What is in a folder: whole images by split, classes, the smallest and the largest height and width of these.

    `bad` names the damaged files, with what is wrong.
    """

    whole: dict[str, int]
    classes: int
    smallest: Size
    largest: Size
    bad: dict[str, str]


def check_folder(
    folder: Path, workers: int, hear: Callable[[int, int], None] = lambda done, total: None
) -> FolderReport:
    """Decode all image files of a folder with one subfolder of images a class; ``hear(done, total)`` is called.

    Raises: MissingDataError and DataError as `list_folder`.
    """
    listing = list_folder(folder)
    bad: dict[str, str] = {}
    sizes: set[Size] = set()

    def look(names: list[str]) -> int:
        for name in names:
            try:
                sizes.add(read_image(listing.root / name, Form()).shape[:2])
            except DataError as error:
                bad[name] = f"expected {error.expected}; found {error.found}"
            except OSError as error:
                bad[name] = f"cannot be read: {error.strerror}"
        return len(names)

    count, done = len(listing.names), 0
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for looked in pool.map(look, [listing.names[at : at + PORTION] for at in range(0, count, PORTION)]):
            done += looked
            hear(done, count)
    parts = {"train": listing.train, "validation": listing.validation, "test": listing.test}
    found = np.array([name not in bad for name in listing.names])
    whole = {split: int(found[part].sum()) for split, part in parts.items() if part is not None}
    heights, widths = zip(*sizes, strict=True) if sizes else ((0,), (0,))
    ends = [(end(heights), end(widths)) for end in (min, max)]
    return FolderReport(whole, len(listing.classes), ends[0], ends[1], dict(sorted(bad.items())))
