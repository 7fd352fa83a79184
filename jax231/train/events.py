"""Event files, which TensorBoard draws."""

from collections.abc import Mapping
from pathlib import Path


class EventWriter:
    """Writes numbers by step into an event file of its own in `folder`, which it makes with the first of them.

    Raises: ModuleNotFoundError without the package tensorboardX.
    """

    def __init__(self, folder: Path):
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "--tensorboard: expected the train extra; pip install '.[train]' in a clone of jax231"
            ) from error
        self._open = lambda: SummaryWriter(logdir=str(folder))
        self._writer: SummaryWriter | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        if self._writer is None:  # only now: a new run wants an empty folder
            self._writer = self._open()
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()
