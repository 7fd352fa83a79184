"""How good a run is on its way: the network, its members one by one and together, or its snapshots."""

from typing import Any

import jax

from jax231.train import evaluate, members, snapshots
from jax231.train.evaluate import Part, Scores, Together
from jax231.train.splits import Splits
from jax231.train.state import TrainState
from jax231.train.step import Task


class Judge:
    """The compiled programs that evaluate the states of a run."""

    def __init__(self, task: Task, splits: Splits):
        config = self._config = task.config
        self._epoch_steps = task.feed.steps
        self._evaluated = jax.jit(lambda train: members.evaluated(config, train))
        self._alone = evaluate.program(config, task.network, splits)
        self._together = evaluate.together(config, task.network, splits)

    def now(self, train: TrainState, part: Part) -> Scores | Together:
        """What the parameters score, of several members together too."""
        params, state = self._evaluated(train)
        return (self._alone if self._config.members == 1 else self._together)(params, state, part)

    def last(self, train: TrainState, part: Part) -> Scores | Together:
        """What the run scores as it predicts: by its snapshots where it has some."""
        kept = len(snapshots.taken(self._config, self._epoch_steps, int(train.step)))
        if kept == 0:
            return self.now(train, part)
        params, state = members.ensemble(self._config, train, kept)
        return self._together(params, state, part)


def whole(found: Scores | Together | None) -> Scores | None:
    """The scores of what predicts: of several networks, together."""
    return found.ensemble if isinstance(found, Together) else found


def numbers(split: str, found: Scores | Together) -> dict[str, Any]:
    """The scores as fields of a record, ``validation_loss`` and so on; ``validation_loss_members`` are each one's."""
    several = found.members if isinstance(found, Together) else ()
    record: dict[str, Any] = {}
    for name, x in (found.ensemble if isinstance(found, Together) else found)._asdict().items():
        if x is not None and name != "examples":
            record[f"{split}_{name}"] = x
            if several:
                record[f"{split}_{name}_members"] = [getattr(one, name) for one in several]
    return record
