"""Errors about files of data: which file, what was expected, what was found."""

from pathlib import Path


class DataError(ValueError):
    """A file is there, but its content is not what its format or its data set demands."""

    def __init__(self, path: Path, expected: str, found: str):
        super().__init__(f"{path}: expected {expected}; found {found}")
        self.path, self.expected, self.found = path, expected, found


class MissingDataError(FileNotFoundError):
    """Files of a data set are not there; the message says where they were looked for and how to get them."""


class FetchError(OSError):
    """A download did not succeed; the message says which file to put where by hand."""


def demand(condition: bool, path: Path, expected: str, found: object) -> None:
    """Raise `DataError` unless `condition` holds."""
    if not condition:
        raise DataError(path, expected, str(found))
