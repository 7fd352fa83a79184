"""Entries of a table by name, with the nearest names where there is none."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable


@runtime_checkable
class Named(Protocol):
    """A row that has a name."""

    @property
    def name(self) -> str:
        """The row's name."""
        ...


Row = TypeVar("Row", bound=Named)


def by_name(entries: Sequence[Row], name: str, where: str, table: str) -> Row:
    """The entry called `name`; `where` and `table` stand in the message of the error.

    Raises: ValueError with the nearest names where there is none.
    """
    rows = {row.name: row for row in entries}
    if name not in rows:
        near = ", ".join(nearest(name, rows))
        raise ValueError(f"{where}: expected a name of the {table}; got {name!r} (nearest: {near})")
    return rows[name]


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of the `known` names that look like `name`; all of them where none does."""
    known = list(known)
    return difflib.get_close_matches(name, known, 3) or known
