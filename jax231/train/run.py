"""A training run on the disk as its readers see it: evaluation, prediction, reports, transfer."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import jax

from jax231.core.types import Model, PyTree
from jax231.data.preprocess import Stats
from jax231.models import zoo
from jax231.train import folder as folders
from jax231.train import network as networks
from jax231.train import splits, step
from jax231.train.checkpoint import CheckpointError, Checkpoints, Say
from jax231.train.config import Config
from jax231.train.network import Network


class Run(NamedTuple):
    """A run: its configuration, its model, and the parameters to evaluate, averages where it keeps some.

    `step` is that of the checkpoint which was read; `stats` are the statistics of preprocessing, None for a text.
    """

    folder: Path
    config: Config
    network: Network
    params: PyTree
    state: PyTree
    stats: Stats | None
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    step: int

    @property
    def entry(self) -> zoo.Entry:
        """The model's entry in the zoo."""
        return self.network.entry

    @property
    def model(self) -> Model:
        """The model's pure functions."""
        return self.network.model

    def dataset(self, data_dir: Path | None = None) -> splits.Splits:
        """The data that the run was trained on, split as they were then, with the statistics that it keeps.

        Raises: as `splits.load`; ValueError where the classes are no longer those of the run.
        """
        stream = "always" if folders.read_facts(self.folder).streamed else "never"
        found = splits.load(self.config, data_dir, stream=stream, stats=self.stats)
        splits.require_classes(self.classes, found.classes)
        return found._replace(stats=self.stats)


def open_run(folder: Path | str, which: Literal["best", "newest"] = "best", say: Say = lambda text: None) -> Run:
    """Read the run in `folder`, by its best checkpoint (highest validation score) or its newest.

    ``say(text)`` is told where a damaged checkpoint was passed over.

    Raises: FolderError where `folder` is not that of a run; CheckpointError where it has no checkpoint.
    """
    folder = Path(folder)
    config, facts = folders.read_config(folder), folders.read_facts(folder)
    network = networks.build(replace(config, initial=None), facts.shape, len(facts.classes))
    like = jax.eval_shape(lambda: step.begin(config, network, facts.steps, facts.batch))
    with Checkpoints(folder / "checkpoints", say, writes=False) as checkpoints:
        train = checkpoints.best(like) if which == "best" else checkpoints.newest(like)
    if train is None:
        raise CheckpointError(f"{folder}: expected a run with a checkpoint; got none yet")
    params, state = step.evaluated(config, train)
    return Run(
        folder, config, network, params, state, folders.read_stats(folder), facts.shape, facts.classes, int(train.step)
    )
