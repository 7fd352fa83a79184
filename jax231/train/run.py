"""A training run on the disk as its readers see it: evaluation, prediction, reports, transfer."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jax231.core.checks import require
from jax231.core.types import Model, PyTree
from jax231.data.preprocess import Stats
from jax231.models import zoo
from jax231.train import folder as folders
from jax231.train import members as lanes
from jax231.train import network as networks
from jax231.train import snapshots, splits, step
from jax231.train.checkpoint import CheckpointError, Checkpoints, Say
from jax231.train.config import Config
from jax231.train.network import Network
from jax231.train.state import TrainState


class Member(NamedTuple):
    """One of the networks of a run: parameters to evaluate, averages where the run keeps some, and model state.

    `plain` are parameters and state without the average, where there is one. The name says which it is of several:
    `lane` is its place among the seeds, and `step` the one after which it was taken.
    """

    name: str
    params: PyTree
    state: PyTree
    plain: tuple[PyTree, PyTree] | None = None
    lane: int = 0
    step: int = 0


class Run(NamedTuple):
    """A run: its configuration, its model, and its networks, one or several that predict together.

    Several are members of different seeds, or snapshots. `step` is that of the checkpoint which was read; `stats` are
    the statistics of preprocessing, None for a text.
    """

    folder: Path
    config: Config
    network: Network
    members: tuple[Member, ...]
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

    @property
    def params(self) -> PyTree:
        """The parameters to evaluate.

        Raises: ValueError for a run of several members, which have theirs in `members`.
        """
        return self._only.params

    @property
    def state(self) -> PyTree:
        """The model's state.

        Raises: as `params`.
        """
        return self._only.state

    @property
    def _only(self) -> Member:
        expected = f"a run of one network (`Run.alone` takes one); {self.folder} has several, which predict together"
        require(len(self.members) == 1, "run", expected, members=[member.name for member in self.members])
        return self.members[0]

    def alone(self, member: int) -> "Run":
        """The run as if it had this member only.

        Raises: ValueError for a member that it does not have.
        """
        count = len(self.members)
        require(0 <= member < count, "run", f"a member within [0, {count})", member=member)
        return self._replace(members=(self.members[member],))

    def stacked(self) -> tuple[PyTree, PyTree]:
        """Parameters and states of all members, with a first axis for them."""
        pairs = [(member.params, member.state) for member in self.members]
        return jax.tree.map(lambda *x: jnp.stack(x), *pairs)

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

    Of a run with snapshots the best checkpoint is the newest, which has them all.

    ``say(text)`` is told where a damaged checkpoint was passed over.

    Raises: FolderError where `folder` is not that of a run; CheckpointError where it has no checkpoint.
    """
    folder = Path(folder)
    config, facts = folders.read_config(folder), folders.read_facts(folder)
    network = networks.build(replace(config, initial=None, initial_member=None), facts.shape, len(facts.classes))
    like = jax.eval_shape(lambda: lanes.begin(config, network, facts.steps, facts.batch))
    with Checkpoints(folder / "checkpoints", say, writes=False) as checkpoints:
        train = checkpoints.best(like) if which == "best" else checkpoints.newest(like)
    if train is None:
        raise CheckpointError(f"{folder}: expected a run with a checkpoint; got none yet")
    members = _snapshots(config, train, facts.steps) or _members(config, train)
    return Run(
        folder, config, network, members, folders.read_stats(folder), facts.shape, facts.classes, int(train.step)
    )


def _members(config: Config, train: TrainState) -> tuple[Member, ...]:
    found = []
    for i, seed in enumerate(lanes.seeds(config)):
        one = lanes.alone(config, train, i)
        plain = None if one.average is None else (one.params, one.state)
        name = f"seed {seed}" if config.members > 1 else ""
        found.append(Member(name, *step.evaluated(config, one), plain, i, int(train.step)))
    return tuple(found)


def _snapshots(config: Config, train: TrainState, epoch_steps: int) -> tuple[Member, ...]:
    """The snapshots taken so far, those of one member after those of another."""
    found = []
    steps = snapshots.taken(config, epoch_steps, int(train.step))
    for i, seed in enumerate(lanes.seeds(config)):
        kept = lanes.alone(config, train, i).snapshots
        for place, at in enumerate(steps, start=-len(steps)):
            name = f"step {at}" if config.members == 1 else f"seed {seed}, step {at}"
            params, state = jax.tree.map(lambda x, place=place: x[place], kept)
            found.append(Member(name, params, state, lane=i, step=at))
    return tuple(found)
