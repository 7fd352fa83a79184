"""Ctrl-C and SIGTERM that wait for the end of the present chunk, so that nothing is left half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):
    """The run was stopped from outside; the message says what is saved and how to go on."""


class Request:
    """Whether somebody asked to stop."""

    asked = False


@contextmanager
def deferred(at_once: str) -> Iterator[Request]:
    """Within the context the first signal only sets ``request.asked``; a second one interrupts, and says `at_once`.

    Outside the main thread, where Python handles no signals, nothing changes.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(*_: object) -> None:
        if request.asked:
            raise Interrupted(at_once)
        request.asked = True

    before = {kind: signal.signal(kind, note) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
