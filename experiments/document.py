"""A measured table in a document that is written by hand: only what stands between its two markers is replaced."""

from pathlib import Path

from jax231.core.checks import require
from jax231.core.files import write_whole


def replace_between(path: Path, begin: str, end: str, text: str) -> None:
    """Put `text` between the lines `begin` and `end` of the document.

    Raises: ValueError where the document has not each of them once.
    """
    old = path.read_text()
    marked = old.count(begin) == old.count(end) == 1
    require(marked, str(path), "each marker once", begin=begin, end=end)
    before, rest = old.split(begin)
    _, after = rest.split(end)
    write_whole(path, f"{before}{begin}\n{text}{end}{after}")
