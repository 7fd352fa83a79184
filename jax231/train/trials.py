"""Trains the settings of a search, those of equal shapes together."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax231.core.checks import require
from jax231.core.types import Batch
from jax231.search.folds import Folds, k_fold
from jax231.train import lanes, network, splits
from jax231.train.search import Search, Setting
from jax231.train.sizes import arguments

SMALL = 2000
"""Training examples up to which k folds take the place of one validation split."""

FOLDS = 5

Sizes = tuple[tuple[str, int], ...]
"""Width and depth, where they are searched: settings that share them share their shapes."""


class Result(NamedTuple):
    """What a setting came to after its last epoch: means over folds, None where they are not finite.

    `broken` says that the cost of one fold or more exploded; `seconds` are its share of those of its group.
    """

    accuracy: float
    accuracies: list[float]
    loss: float | None
    train_loss: float | None
    broken: bool
    seconds: float


class Trials:
    """The data, the compiled programs by sizes, and where the settings of a stage stand between two rungs.

    `damage` are the damaged images of a folder that were skipped, None for other data.

    Raises: ValueError and MissingDataError as `splits.load`; ValueError for a batch larger than the training split.
    """

    def __init__(self, search: Search, data_dir: Path | None):
        self._search = search
        loaded = splits.load(search.config, data_dir)
        train, held = loaded.train, loaded.validation
        both = train
        if held is not None:
            images = np.concatenate([train.inputs, held.inputs])
            both = Batch(images, np.concatenate([train.targets, held.targets]))
        self.folds = search.folds or (FOLDS if len(both.targets) <= SMALL else 1)
        if self.folds > 1:
            parts = k_fold(both.targets, self.folds, search.config.seed)
        else:
            require(held is not None, "tune", "a validation split, or at least 2 folds", folds=search.folds)
            places = np.arange(len(both.targets))
            parts = Folds(places[None, : len(train.targets)], places[None, len(train.targets) :])
        count = min(len(train.targets), parts.train.shape[1])
        fits = search.config.batch <= count
        require(fits, "tune", f"a batch of at most the {count} training examples", batch=search.config.batch)
        self.damage = None if loaded.reading is None else loaded.reading.damage
        assert loaded.stats is not None, "images are preprocessed"
        self._shape, self._classes = loaded.shape, len(loaded.classes)
        self._shared = lanes.share(both, parts, loaded.stats)
        self._programs: dict[Sizes, lanes.Program] = {}
        self._standing: dict[int, tuple[int, lanes.Lane]] = {}

    def forget(self) -> None:
        """Drop where the settings of a stage stood."""
        self._standing = {}

    def run(
        self, todo: Sequence[int], asked: Mapping[int, Setting], epochs: int, hear: Callable[[float], None]
    ) -> Iterator[dict[int, Result]]:
        """Train the settings `todo` of those `asked` for so many epochs in all, as many at once as there are lanes.

        Yields the results of one group after another; `hear` is told the share that is done after each epoch. What is
        left out of `todo` changes no shape, and so no bit.
        """
        groups: dict[Sizes, list[int]] = {}
        for index in asked:
            groups.setdefault(sizes_of(asked[index]), []).append(index)
        parts = []
        for sizes, group in groups.items():
            wide, open_ = min(self._search.lanes, len(group)), [index for index in group if index in todo]
            parts += [(sizes, open_[at : at + wide], wide) for at in range(0, len(open_), wide)]
        for place, (sizes, group, wide) in enumerate(parts):

            def share(done: float, place: int = place) -> None:
                hear((place + done) / len(parts))

            yield self._together(sizes, group, wide, asked, epochs, share)

    def _together(self, sizes: Sizes, group: list[int], wide: int, asked: Mapping[int, Setting], epochs: int,
                  hear: Callable[[float], None]) -> dict[int, Result]:  # fmt: skip
        """Train one group; copies of its first fill it to `wide`, so that all groups have one shape."""
        begin, seed = time.monotonic(), jax.random.key(self._search.config.seed)
        program = self._program(sizes)
        filled = [*group, *[group[0]] * (wide - len(group))]
        numbers = self._numbers([asked[index] for index in filled])
        first, now = self._begun(filled) or (0, program.begin(numbers, jax.random.fold_in(seed, 0)))
        now, outcome = program.epoch(now, numbers, self._shared, jax.random.fold_in(seed, first + 1))
        for epoch in range(first + 1, epochs):
            hear((epoch - first) / (epochs - first))
            if not np.asarray(now.alive).any():
                break
            now, outcome = program.epoch(now, numbers, self._shared, jax.random.fold_in(seed, epoch + 1))
        alive, train_loss, loss, accuracy = (np.asarray(x).reshape(wide, self.folds) for x in (now.alive, *outcome))
        hear(1.0)
        seconds = (time.monotonic() - begin) / len(group)
        found = {}
        for place, index in enumerate(group):
            if self._search.halving is not None:
                here = np.arange(place * self.folds, (place + 1) * self.folds)
                self._standing[index] = (epochs, lanes.take(now, here))
            hits = [float(x) for x in accuracy[place]]
            losses = _plain(float(loss[place].mean())), _plain(float(train_loss[place].mean()))
            broken = not bool(alive[place].all())
            found[index] = Result(float(accuracy[place].mean()), hits, *losses, broken, seconds)
        return found

    def _numbers(self, some: Sequence[Setting]) -> lanes.Numbers:
        """A lane for each fold of each setting."""
        rows = [setting for setting in some for _ in range(self.folds)]
        columns = {name: jnp.asarray([row.get(name, 0.0) for row in rows], jnp.float32)
                   for name in ("rate", "decay", "l2", "dropout")}  # fmt: skip
        return lanes.Numbers(**columns, fold=jnp.tile(jnp.arange(self.folds), len(some)))

    def _begun(self, some: Sequence[int]) -> tuple[int, lanes.Lane] | None:
        """Where these settings stand, if all stand at the same epoch: not after an interruption."""
        stood = [self._standing[index] for index in some if index in self._standing]
        if len(stood) < len(some) or len({epoch for epoch, _ in stood}) != 1:
            return None
        return stood[0][0], jax.tree.map(lambda *x: jnp.concatenate(x), *(lane for _, lane in stood))

    def _program(self, sizes: Sizes) -> lanes.Program:
        if sizes not in self._programs:
            config, drops = self._search.config, self._search.dropout is not None
            chosen = {**config.arguments, **arguments(config.model, dict(sizes))}
            # Any share will do to build the layers of dropout: the lanes bring their own.
            config = replace(config, arguments=chosen, dropout=0.5 if drops else config.dropout)
            net = network.build(config, self._shape, self._classes)
            self._programs[sizes] = lanes.program(net, config.optimizer, config.batch, drops=drops)
        return self._programs[sizes]


def sizes_of(setting: Setting) -> Sizes:
    """The width and depth of a setting."""
    return tuple((name, int(setting[name])) for name in ("width", "depth") if name in setting)


def _plain(number: float) -> float | None:
    return number if math.isfinite(number) else None
