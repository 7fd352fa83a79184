"""A run that several processes train together, each with its own devices, by JAX's multi-controller runtime.

All processes execute the same programs at the same time; the first one alone writes what is not a checkpoint. In a
single process everything here is a matter of course and costs nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import jax
import numpy as np

from jax231.core.checks import require

START_SECONDS = 300
"""How long a process waits for the others to come."""

SILENCE_SECONDS = 20
"""After so long without a sign of life a process counts as lost."""

LOST = ("gloo", "nccl", "coordinationservice", "distributed service")
"""Who in the runtime speaks when another process has gone."""


class LostError(ConnectionError):
    """Another process of the run ended or stopped answering; the run goes on from its last checkpoint."""


def join(coordinator: str, count: int, index: int) -> None:
    """Make this process number `index` of `count`; the first listens at `coordinator`, HOST:PORT, for the others.

    To be called before JAX computes anything.

    Raises: ValueError for numbers that do not fit; LostError where the others do not come.
    """
    require(count >= 1, "processes", "at least one process", processes=count)
    require(0 <= index < count, "processes", f"a number of the process within [0, {count})", process=index)
    host, _, port = coordinator.rpartition(":")
    require(bool(host) and port.isdigit(), "processes", "a coordinator HOST:PORT", coordinator=coordinator)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_recoverability", True)  # else the loss of a process aborts the others without a word
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            index,
            initialization_timeout=START_SECONDS,
            heartbeat_timeout_seconds=SILENCE_SECONDS,
            shutdown_timeout_seconds=SILENCE_SECONDS,
        )
    except jax.errors.JaxRuntimeError as error:
        raise LostError(
            f"processes: expected {count} processes to meet at {coordinator} within {START_SECONDS} s; got "
            f"{str(error).splitlines()[0]}"
        ) from error


def several() -> bool:
    """Whether there are other processes."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def of_the_first(number: int) -> int:
    """The number of the first process, in all of them."""
    if not several():
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def of_any(*facts: bool) -> tuple[bool, ...]:
    """For each of the facts whether it holds in any process; all wait for each other, without facts too."""
    if not several():
        return facts
    from jax.experimental import multihost_utils

    return tuple(map(bool, multihost_utils.process_allgather(np.array([*facts, 0], np.int32)).max(0)))[: len(facts)]


@contextmanager
def first_alone() -> Iterator[bool]:
    """Let the first process do something while the others wait at the end of the context; true in the first.

    Raises: LostError in the others where the first failed.
    """
    if not several():
        yield True
        return
    failed = True
    try:
        yield is_first()
        failed = False
    finally:
        (broken,) = of_any(failed)
    if broken:
        raise LostError("train: expected all processes to begin; got another one that could not, see what it says")


@contextmanager
def together(again: str) -> Iterator[None]:
    """Say that another process was lost where the runtime only tells of a broken connection; `again` goes on.

    Raises: LostError.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # jit makes a ValueError of what gloo says
        said = str(error)
        if not several() or not any(speaker in said.lower() for speaker in LOST):
            raise
        raise LostError(
            f"train: expected {jax.process_count()} processes to the end; got a lost one "
            f"({said.splitlines()[0][:200]}). Start all of them again with: {again}"
        ) from error


def part() -> None:
    """End the meeting in good order: the first, at whose address the others are, goes last."""
    if not several():
        return
    of_any()
    if not is_first():
        jax.distributed.shutdown()
    of_any()
    if is_first():
        jax.distributed.shutdown()


def leave(code: int) -> NoReturn:
    """End this process at once: the runtime would wait in vain for one that is lost."""
    os._exit(code)
