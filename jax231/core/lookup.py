"""Entries of a table by name, with the nearest names, or the way to all of them, where there is none."""

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

MOST = 3
"""Names that are suggested."""

SHORT = 8
"""Names of a table that is printed whole where none of them is near."""


def by_name(entries: Sequence[Row], name: str, where: str, table: str, command: str = "") -> Row:
    """The entry called `name`; `where`, `table` and the `command` that lists it stand in the message of the error.

    Raises: ValueError with the nearest names where there is none.
    """
    rows = {row.name: row for row in entries}
    if name not in rows:
        raise ValueError(f"{where}: expected a name of the {table}; got {name!r} ({hint(name, rows, command)})")
    return rows[name]


def hint(name: str, known: Iterable[str], command: str = "") -> str:
    """What helps who wrote `name`: the nearest names, else all if they are few, else the `command` that lists them."""
    known = list(known)
    if near := nearest(name, known):
        return f"nearest: {', '.join(near)}"
    if command and len(known) > SHORT:
        return f"none is near; `{command}` lists them"
    return f"known: {', '.join(known)}"


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to `MOST` of the `known` names: those that begin with `name`, the most similar first, then similar ones."""
    known, low = list(known), name.lower()
    begun = [other for other in known if low and other.lower().startswith(low)]
    begun.sort(key=lambda other: -difflib.SequenceMatcher(None, low, other.lower()).ratio())
    close = difflib.get_close_matches(low, known, MOST)
    return list(dict.fromkeys([*begun, *close]))[:MOST]
