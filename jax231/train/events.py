"""Event files, which TensorBoard draws."""

from collections.abc import Mapping
from pathlib import Path


class EventWriter:
    """Writes numbers by step into an event file of its own in `folder`.

    Raises: ImportError without the package tensorboardX.
    """

    def __init__(self, folder: Path):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "--tensorboard: expected tensorboardX to be installed: pip install 'jax231[train]'"
            ) from error
        self._writer = SummaryWriter(logdir=str(folder), write_to_disk=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()
