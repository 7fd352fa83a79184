"""What is searched for and how, and the settings that a stage asks for."""

import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jax231.core.checks import require
from jax231.models import zoo
from jax231.optim import catalog
from jax231.search.points import METHODS, points
from jax231.search.refine import SHRINK
from jax231.search.space import Space, require_range, settings
from jax231.train.config import Config
from jax231.train.sizes import NO_DEPTH, SIZES, arguments

DECOUPLED = ("adamw", "lion", "muon")
"""Optimizers whose usual regularization is decoupled decay; for the others it is an L2 penalty."""

USUAL = (1e-6, 1e-1)
"""Strengths of regularization that are searched if no others are given."""

Setting = dict[str, float]
"""Numbers by name: rate, l2, decay, dropout, width, depth."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and how: `settings` and `epochs` have an entry a stage.

    A pair is a range, None is not searched; `rate` is logarithmic over the optimizer's usual range if None, `l2` and
    `decay` are logarithmic, `dropout` linear. `width` and `depth` are lists to choose from. `folds` of 1 is the
    validation split, of None that or 5 folds where data are small. With `halving` a stage keeps the best of so many
    settings again and again while epochs grow.
    """

    config: Config
    rate: tuple[float, float] | None = None
    l2: tuple[float, float] | None = None
    decay: tuple[float, float] | None = None
    dropout: tuple[float, float] | None = None
    width: tuple[int, ...] = ()
    depth: tuple[int, ...] = ()
    settings: tuple[int, ...] = (24, 12)
    epochs: tuple[int, ...] = (2, 8)
    method: str = "random"
    folds: int | None = None
    halving: int | None = None
    shrink: float = SHRINK
    lanes: int = 8

    def __post_init__(self):
        entry, rule = zoo.entry(self.config.model), catalog.entry(self.config.optimizer)
        require(entry.loss != "" and entry.form == "image", "tune", "a model of images that learns by descent",
                model=entry.name)  # fmt: skip
        simple = not rule.needs and rule.setting == "step size"
        require(simple, "tune", "an optimizer with a step size that takes gradients alone", optimizer=rule.name)
        crop = self.config.crop
        require(crop != "random", "tune", "the crop none or center, as images are read once, into memory", crop=crop)
        stages = len(self.settings) == len(self.epochs) >= 1 and min(*self.settings, *self.epochs) >= 1
        expected = "as many numbers of settings as of epochs, each at least 1"
        require(stages, "tune", expected, settings=self.settings, epochs=self.epochs)
        require(self.lanes >= 1, "tune", "at least one lane", lanes=self.lanes)
        require(self.folds is None or self.folds >= 1, "tune", "at least one fold", folds=self.folds)
        require(self.method in METHODS, "tune", f"a method among {', '.join(METHODS)}", method=self.method)
        require(self.halving is None or self.halving >= 2, "tune", "halving by 2 or more", halving=self.halving)
        sized = entry.architecture in SIZES
        known = [name for name in zoo.NAMES if zoo.entry(name).architecture in SIZES]
        wanted = bool(self.width or self.depth)
        require(sized or not wanted, "tune", f"width and depth of one of {', '.join(known)}", model=entry.name)
        flat = entry.architecture in NO_DEPTH
        require(not (flat and self.depth), "tune", f"no depth for {entry.name}, which has one", depth=self.depth)
        self.space()

    def space(self) -> Space:
        """The ranges of the first stage."""
        found = {"rate": require_range("tune", "rate", *(self.rate or catalog.entry(self.config.optimizer).space))}
        if self.l2 is not None:
            found["l2"] = require_range("tune", "l2", *self.l2)
        if self.decay is not None:
            found["decay"] = require_range("tune", "decay", *self.decay)
        if self.dropout is not None:
            low, high = self.dropout
            require(0 <= low <= high < 1, "tune", "dropout from low to high within [0, 1)", low=low, high=high)
            found["dropout"] = require_range("tune", "dropout", low, high, "linear")
        return found

    def choices(self) -> dict[str, tuple[int, ...]]:
        """The lists of the first stage."""
        return {name: some for name, some in (("width", self.width), ("depth", self.depth)) if some}


def ask(method: str, space: Space, choices: Mapping[str, Sequence[int]], count: int, seed: int) -> list[Setting]:
    """At most `count` settings: a number from every range and one of every list."""
    if method == "grid":
        combined = list(itertools.product(*choices.values()))
        numbers = settings(space, points("grid", max(count // len(combined), 1), len(space), seed))
        return [{**number, **dict(zip(choices, sizes, strict=True))} for sizes in combined for number in numbers]
    cube = points(method, count, len(space) + len(choices), seed)
    found = settings(space, cube[:, : len(space)])
    for place, (name, some) in enumerate(choices.items(), len(space)):
        for setting, share in zip(found, cube[:, place], strict=True):
            setting[name] = some[int(share * len(some))]
    return found


def command(search: Search, setting: Setting) -> str | None:
    """The ``jax231 train`` that trains a setting, None where it has a regularization which that does not offer."""
    config, decoupled = search.config, search.config.optimizer in DECOUPLED
    if ("l2" if decoupled else "decay") in setting:
        return None
    sizes = {name: int(setting[name]) for name in ("width", "depth") if name in setting}
    flags: dict[str, object] = {"model": config.model, "data": config.data, "optimizer": config.optimizer}
    flags |= {"rate": f"{setting['rate']:g}", "batch": config.batch, "epochs": search.epochs[-1]}
    if (strength := setting.get("decay" if decoupled else "l2")) is not None:
        flags["decay"] = f"{strength:g}"
    if "dropout" in setting:
        flags["dropout"] = f"{setting['dropout']:g}"
    plain = Config()
    for name in ("preprocess", "size", "crop", "corrupt", "examples", "validation", "seed"):
        if getattr(config, name) != getattr(plain, name):
            flags[name] = getattr(config, name)
    for name, value in {**config.arguments, **arguments(config.model, sizes)}.items():
        flags[f"arguments.{name}"] = json.dumps(value) if isinstance(value, list) else value
    return shlex.join(["jax231", "train", *(str(x) for name, value in flags.items() for x in (f"--{name}", value))])
