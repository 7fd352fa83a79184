"""Parts of a search side by side on threads: a compiled program runs outside Python's lock."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")

AT_ONCE = 2
"""Two small programs at a time keep two cores busier than one whose operations are split (1.65 times, the ConvNet)."""


def side_by_side(work: Callable[[Part, Event], list[Result]], parts: Iterable[Part]) -> Iterator[Result]:
    """The results of ``work(part, stopping)`` for every part, in their order.

    Where the caller is interrupted, `stopping` is set and what has not begun is dropped; `work` should look at it now
    and then, and its result no longer counts.
    """
    stopping = Event()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(work, part, stopping) for part in parts]
        try:
            for future in running:
                yield from future.result()
        finally:
            stopping.set()
            for future in running:
                future.cancel()
