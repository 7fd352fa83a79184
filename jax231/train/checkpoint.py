"""Checkpoints of a run: written by Orbax beside the training, whole or not at all, and read back with care.

Kept are the newest ones and the best. Each carries a checksum of its arrays, so that a damaged one is found out.
"""

import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from jax231.core import tree
from jax231.core.types import PyTree
from jax231.train.processes import LostError, is_first

NEWEST = 2
"""Checkpoints that are kept beside the best one."""

MOST = 6
"""Names of a kind in an error."""

State = TypeVar("State")
Say = Callable[[str], None]


class CheckpointError(ValueError):
    """No checkpoint can be read, or it is that of another model; the message says what differs."""


class Kept(NamedTuple):
    """A checkpoint on the disk; `score` is None where none was known at that step."""

    step: int
    score: float | None


class Checkpoints:
    """The checkpoints in `folder`; a context that waits for the last one at its end.

    ``say(text)`` is told of what went wrong without ending the run: a disk that is full, a checkpoint that is damaged.
    One that only reads leaves alone what another process is writing; a writer removes what a killed one left behind.
    """

    def __init__(self, folder: Path, say: Say = lambda text: None, *, writes: bool = True):
        from orbax.checkpoint import v1 as ocp

        save, keep = ocp.training.save_decision_policies, ocp.training.preservation_policies
        best = keep.BestN(get_metric_fn=lambda m: m["score"], n=1, keep_checkpoints_without_metrics=False)
        self._say = say
        self._pending: tuple[int, Any] | None = None
        self._unreadable = set[int]()
        self._lost = False
        every: Any = save.FixedIntervalPolicy(1)  # Any: Orbax's policies do not fit its own protocols
        newest: Any = keep.AnyPreservationPolicy([keep.LatestN(NEWEST), best])
        if writes and is_first():
            _remove_unfinished(folder)
        self._orbax: Any = ocp.training.Checkpointer(
            str(folder.resolve()),
            save_decision_policy=every,
            preservation_policy=newest,
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, LostError):
            return  # Orbax would wait for the process that is lost
        whole = self.wait() and not self._lost
        try:
            self._orbax.close()
        except Exception as late:  # Orbax raises a failed write again, which was told of
            if whole:
                self._say(f"The checkpoints could not be closed: {_reason(late)}.")

    def kept(self) -> list[Kept]:
        """What is on the disk, the oldest first."""
        return [Kept(c.step, (c.metrics or {}).get("score")) for c in self._orbax.checkpoints]

    def save(self, step: int, state: PyTree, score: float | None = None) -> None:
        """Begin to write the state after `step` steps; a higher `score` is better.

        It returns once the arrays are copied. The one before is waited for. Those that were found damaged are removed:
        they would stand in the place of the same steps done again, and Orbax writes no step before its newest.
        """
        self.wait()
        self._remove_damaged()
        if any(kept.step == step for kept in self.kept()):
            return
        metrics = None if score is None or not np.isfinite(score) else {"score": float(score)}
        try:
            response = self._orbax.save_async(
                step, state, metrics=metrics, custom_metadata={"checksum": checksum(state)}
            )
        except Exception as error:
            self._failed(step, error)
        else:
            self._pending = (step, response)

    def wait(self) -> bool:
        """Wait for what is being written; whether it was."""
        if self._pending is None:
            return True
        (step, response), self._pending = self._pending, None
        try:
            response.result()
        except Exception as error:  # the threads of Orbax raise almost anything
            self._failed(step, error)
            return False
        return True

    def _remove_damaged(self) -> None:
        for step in sorted(self._unreadable):
            self._orbax.delete(step, missing_ok=True)
        self._unreadable.clear()

    def _failed(self, step: int, error: Exception) -> None:
        self._lost = True
        with suppress(Exception):  # it would raise the same again
            self._orbax.wait()
        self._orbax.reload()  # else it counts what was not written
        steps = [str(kept.step) for kept in self.kept()]
        newest = f"the newest is that of step {steps[-1]}" if steps else "there is none yet"
        self._say(f"The checkpoint of step {step} could not be written: {_reason(error)}; {newest}.")

    def newest(self, like: State) -> State | None:
        """The newest checkpoint that can be read; None where there is none at all.

        `like` has the structure, shapes and types of the state, abstract or not.

        Raises: CheckpointError for checkpoints of another model, which says where they differ, and where none of those
                there can be read.
        """
        kept = self.kept()
        for at in reversed(kept):
            state = self._read(at.step, like)
            if state is not None:
                return state
        if kept:
            raise CheckpointError(f"{self._orbax.directory}: expected a checkpoint that can be read; got none")
        return None

    def best(self, like: State) -> State | None:
        """The checkpoint of the highest score that can be read, else the newest; None where there is none at all."""
        scored = [at for at in self.kept() if at.score is not None]
        for at in sorted(scored, key=lambda at: (at.score, at.step), reverse=True):
            state = self._read(at.step, like)
            if state is not None:
                return state
        return self.newest(like)

    def _read(self, step: int, like: State) -> State | None:
        try:
            found = self._orbax.metadata(step)
            names = _shapes(found.metadata)
            if not names:
                raise ValueError("its list of arrays cannot be read")
        except Exception as error:
            return self._damaged(step, error)
        _require_same(Path(self._orbax.directory) / str(step), names, like)
        try:
            state = self._orbax.load(step, abstract_state=jax.tree.map(_abstract, like))
            expected, seen = (found.custom_metadata or {}).get("checksum"), checksum(state)
            if seen != expected:
                raise ValueError(f"its checksum is {seen} instead of {expected}")
        except Exception as error:
            return self._damaged(step, error)
        return state

    def _damaged(self, step: int, error: Exception) -> None:
        self._unreadable.add(step)
        self._say(f"The checkpoint of step {step} is damaged ({_reason(error)}): trying the one before.")


def _remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing. Orbax would do it in a thread that nothing waits for."""
    from orbax.checkpoint import utils

    for path in folder.glob(f"*{utils.TMP_DIR_SUFFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def checksum(state: PyTree) -> str:
    """CRC-32 over the bits of all arrays in order."""
    total = 0
    for leaf in jax.tree.leaves(state):
        bits = jax.random.key_data(leaf) if _is_key(leaf) else leaf
        total = zlib.crc32(np.ascontiguousarray(np.asarray(bits)).view(np.uint8).data, total)
    return f"{total:08x}"


def _is_key(leaf: Any) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, type and place: that of the leaf, else the first device. Orbax warns of a leaf without a place."""
    place = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)


def _shapes(metadata: PyTree) -> dict[str, tuple[int, ...]]:
    return {tree.name(path): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(metadata)}


def _require_same(path: Path, found: dict[str, tuple[int, ...]], like: PyTree) -> None:
    """The checkpoint has the names and shapes of `like`."""
    wanted = {
        tree.name(at): None if _is_key(leaf) else tuple(leaf.shape)  # a key is written as words
        for at, leaf in jax.tree_util.tree_leaves_with_path(like)
    }
    differs = {
        "missing": [name for name in wanted if name not in found],
        "unknown": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {found[name]} instead of {shape}"
            for name, shape in wanted.items()
            if shape is not None and name in found and found[name] != shape
        ],
    }
    if any(differs.values()):
        seen = "; ".join(f"{kind}: {_some(names)}" for kind, names in differs.items() if names)
        raise CheckpointError(f"{path}: expected a checkpoint of this model and optimizer; got {seen}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _reason(error: BaseException) -> str:
    """The first line of what the system said, by the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
