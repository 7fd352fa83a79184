"""What the course says to those who ask for L-BFGS or Newton together with noise, said once."""

import functools
import logging
from collections.abc import Sequence

from jax231.optim import catalog

log = logging.getLogger("jax231")

ADVICE = '"don\'t forget to disable all sources of noise" (CS231n lecture 7)'


def noise_note(entry: catalog.Entry, sources: Sequence[str]) -> str | None:
    """The note for an optimizer of the catalog on an objective with these `sources` of noise; None where it has none.

    `sources` are words for what makes the objective another function in every step: mini-batches, dropout,
    augmentation. First-order methods live with that, and so do those whose entry says so by its ``noise``.

    Source: CS231n lecture 7 on L-BFGS: "don't forget to disable all sources of noise".
    """
    if not sources or entry.batch == "mini-batch":
        return None
    others = ", ".join(other.name for other in catalog.ENTRIES if other.order == 2 and other.noise)
    return (
        f"{entry.name} needs the same function in every step, and here it changes with {' and '.join(sources)}: "
        f"{ADVICE}. Made for mini-batches: {others}."
    )


def note_once(entry: catalog.Entry, sources: Sequence[str]) -> None:
    """Log `noise_note`, if there is one, as a warning, and each only once in a process."""
    note = noise_note(entry, sources)
    if note is not None:
        _log_once(note)


@functools.cache
def _log_once(note: str) -> None:
    log.warning(note)
