"""What a training run is: the choices that its folder stores and that reproduce it.

Imports neither JAX nor Flax, so that the command line answers at once.
"""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from cyclopts import Parameter

from jax231.core.checks import require
from jax231.models import zoo
from jax231.optim import catalog

ScheduleName = Literal[
    "constant", "cosine", "step", "exponential", "inverse_time", "warm_restarts", "one_cycle"
]  # fmt: skip
PreprocessName = Literal["none", "mean_image", "per_channel_mean", "per_channel", "standardize", "pca", "whiten"]
AugmentName = Literal[
    "flip", "pad_crop", "resized_crop", "scale_jitter", "color_jitter", "lighting", "cutout"
]  # fmt: skip
StreamName = Literal["auto", "always", "never"]
CropName = Literal["none", "center", "random"]
CorruptName = Literal["refuse", "skip"]
Value = int | float | bool | str | list[int]
TABLE = "train"
"""The table of a TOML file that holds a configuration."""

HANDED = ("value_fn", "outputs_fn", "outputs_loss", "per_example_fn", "curvature_fn")
"""What a training step hands an optimizer, of the `needs` of its entry in the catalog."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A training run: a model of the zoo, a data set, an optimizer of the catalog."""

    model: str = "convnet"
    """Model to train; `jax231 models` lists them."""

    data: str = "digits"
    """Data set (`jax231 data list`), or the path of a folder with one subfolder of images a class, or of a text."""

    arguments: dict[str, Value] = field(default_factory=dict)
    """Arguments of the model beside those of its entry, as in --arguments.hidden 256, --arguments.widths "[64, 32]"."""

    dropout: float | None = None
    """Share of units that dropout silences, in models that have it (None: the model's own)."""

    optimizer: str = "nesterov"
    """Optimizer; `jax231 optimizers` describes them and lists the default step size of each."""

    rate: float | None = None
    """Step size, or damping of a second-order method (None: the default that `jax231 optimizers` lists)."""

    options: dict[str, Value] = field(default_factory=dict)
    """Further numbers of the optimizer, as in --options.decay 0.95."""

    schedule: ScheduleName = "constant"
    """How the step size changes over the run."""

    drops: tuple[float, ...] = (0.5, 0.75)
    """When the schedule "step" divides the rate by ten, as shares of the run."""

    warmup: float = 0.0
    """Epochs in which the step size first grows from 0."""

    cycle: float = 1.0
    """Epochs of the first cycle of the schedule "warm_restarts"."""

    growth: float = 2.0
    """How many times as long each further cycle of the schedule "warm_restarts" is as the one before."""

    epochs: int = 10
    """Passes over the training split."""

    batch: int = 128
    """Examples a step, of a text: places read side by side; 0 takes the whole training split. What is left of an epoch
    after its last whole batch is left out: other images in every epoch, of a text always its end."""

    accumulate: int = 1
    """Parts into which a batch is cut to spare memory; the gradient is the mean over them."""

    decay: float = 0.0
    """Weight decay, on kernels only: coupled as an L2 penalty, decoupled for AdamW, Lion and Muon."""

    clip: float | None = None
    """Largest norm of a gradient (None: no limit)."""

    smoothing: float = 0.0
    """Label smoothing: the share of the target that is spread over all classes."""

    augment: tuple[AugmentName, ...] = ()
    """Augmentations of training images, in this order, as in --augment flip pad_crop."""

    mixup: float = 0.0
    """Strength of mixup, the parameter of its Beta distribution; 0 mixes nothing."""

    ema: float | None = None
    """Average the parameters and use the average to evaluate: decay of a moving one, 1 for Polyak's mean of all."""

    members: int = 1
    """Networks trained side by side, from the seeds `seed`, `seed` + 1 and so on; they predict together."""

    snapshots: int = 0
    """Keep the parameters at the ends of so many cycles, the last ones, of the schedule "warm_restarts"; they predict
    together."""

    preprocess: PreprocessName = "per_channel"
    """Preprocessing of images, its statistics those of the training split."""

    size: int | None = None
    """Pixels a side to which the images of a folder are resized (None: as they are)."""

    crop: CropName = "none"
    """What is resized to `size` of an image in a folder: all of it (none), its centre (center), or (random) in training
    a part of random area, ratio and place and else the centre."""

    corrupt: CorruptName = "refuse"
    """What becomes of damaged images in a folder: the run ends and names the first, or skips them and lists them."""

    validation: int | None = None
    """Training examples held out to validate on (None: the data set's number)."""

    examples: int | None = None
    """Use only so many training examples (None: all)."""

    length: int = 50
    """Characters of a text that are read at once; gradients do not reach further back, the carry does."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Type that layers compute in; parameters and sums stay in float32."""

    initial: Annotated[str | None, Parameter(name=("--from", "--initial"))] = None
    """Folder of a run from whose parameters this one starts, or a file of PyTorch weights; a head of other classes, by
    their names or of a file by their number, is made anew."""

    initial_member: Annotated[int | None, Parameter(name=("--member", "--initial-member"))] = None
    """Which of several networks of the run in --from this one starts from, counted from 0 (None: the best on the
    validation split; where this run has as many members, each starts from its own)."""

    freeze: tuple[str, ...] = ()
    """Shell patterns of the names of parameters that stand still, as in --freeze "conv*/*"; a layer all of whose
    parameters do is in evaluation mode (batch norm keeps its running statistics and uses them)."""

    factors: dict[str, float] = field(default_factory=dict)
    """Factors on the step size of parameters whose names fit a shell pattern, as in --factors.conv* 0.1."""

    seed: int = 0
    """Seed of the first parameters, of the order of examples and of all that is random."""

    def __post_init__(self):
        listed = {name: _listed(value) for name, value in self.arguments.items()}
        object.__setattr__(self, "arguments", listed)  # as a dataclass that is frozen wants it
        zoo.entry(self.model)
        entry = catalog.entry(self.optimizer)
        lacks = {need: catalog.NEEDS[need] for need in entry.needs if need not in HANDED}
        if lacks:
            needs = ", ".join(f"{need} ({meaning})" for need, meaning in lacks.items())
            raise ValueError(
                f"train: expected an optimizer that a training step hands what it needs; got {entry.name}, "
                f"which needs {needs}"
            )
        rate = self.rate
        require(rate is None or 0 < rate < math.inf, "train", "a finite rate above 0", rate=rate)
        fixed = self.schedule == "constant" and self.warmup == 0
        damped = entry.setting == "damping" or entry.name == "schedule_free"
        expected = f"the schedule constant and no warmup for {entry.name}, which has no step size to change"
        require(fixed or not damped, "train", expected, schedule=self.schedule, warmup=self.warmup)
        require(self.epochs >= 1, "train", "at least one epoch", epochs=self.epochs)
        require(self.batch >= 0, "train", "a batch of 0 (all) or more", batch=self.batch)
        require(self.accumulate >= 1, "train", "at least one part of a batch", accumulate=self.accumulate)
        whole = self.batch % self.accumulate == 0
        require(whole, "train", "a batch of parts of equal size", batch=self.batch, accumulate=self.accumulate)
        for name in ("decay", "warmup", "mixup"):
            number = getattr(self, name)
            require(0 <= number < math.inf, "train", f"{name} of at least 0, finite", **{name: number})
        for pattern, factor in self.factors.items():
            require(0 <= factor < math.inf, "train", "finite factors of at least 0", **{pattern: factor})
        moves = not self.factors or (not entry.needs and entry.name != "schedule_free")
        expected = (
            f"no factors for {entry.name}, which chooses its steps by evaluating the loss or keeps a mean of them"
        )
        require(moves, "train", expected, factors=self.factors)
        known = self.initial_member is None or (self.initial is not None and self.initial_member >= 0)
        expected = "a run in --from with --member, which is 0 or more"
        require(known, "train", expected, member=self.initial_member, initial=self.initial)
        for name in ("smoothing", "dropout"):
            share = getattr(self, name)
            require(share is None or 0 <= share < 1, "train", f"{name} within [0, 1)", **{name: share})
        require(self.ema is None or 0 <= self.ema <= 1, "train", "ema within [0, 1]", ema=self.ema)
        require(self.clip is None or self.clip > 0, "train", "clip above 0", clip=self.clip)
        require(all(0 < share < 1 for share in self.drops), "train", "drops within (0, 1)", drops=self.drops)
        for name in ("schedule", "preprocess", "precision", "crop", "corrupt"):
            known = get_args(next(f.type for f in fields(self) if f.name == name))
            chosen = getattr(self, name)
            require(chosen in known, "train", f"{name} among {', '.join(known)}", **{name: chosen})
        self._require_ensemble()
        for name in ("examples", "length", "size"):
            number = getattr(self, name)
            require(number is None or number >= 1, "train", f"{name} of at least 1", **{name: number})
        fits = self.crop == "none" or self.size is not None
        require(fits, "train", "a size to which what is cut out is resized", crop=self.crop, size=self.size)
        require(self.validation is None or self.validation >= 0, "train", "validation of at least 0",
                validation=self.validation)  # fmt: skip

    def _require_ensemble(self) -> None:
        """Members and snapshots are such as can predict together."""
        require(0.01 <= self.cycle < math.inf, "train", "a finite cycle of at least 0.01 epochs", cycle=self.cycle)
        require(1 <= self.growth < math.inf, "train", "a finite growth of at least 1", growth=self.growth)
        require(self.members >= 1, "train", "at least one member", members=self.members)
        require(self.snapshots >= 0, "train", "snapshots of at least 0", snapshots=self.snapshots)
        several = self.members > 1 or self.snapshots > 0
        expected = "a model that gives probabilities, which members or snapshots average"
        require(not several or zoo.entry(self.model).probabilistic, "train", expected, model=self.model)
        if self.snapshots > 0:
            expected = "the schedule warm_restarts, at the ends of whose cycles snapshots are taken"
            require(self.schedule == "warm_restarts", "train", expected, schedule=self.schedule)
            ends = len(cycle_ends(self))
            expected = f"at most as many snapshots as the {ends} cycles that end within the run"
            require(self.snapshots <= ends, "train", expected, snapshots=self.snapshots, epochs=self.epochs)

    @property
    def step_size(self) -> float:
        """The rate, or the geometric middle of the range in the catalog where none was given, to two digits."""
        if self.rate is not None:
            return self.rate
        return catalog.entry(self.optimizer).usual


def cycle_ends(config: Config) -> tuple[float, ...]:
    """The ends within the run of the cycles of "warm_restarts", in epochs."""
    ends, length = list[float](), config.cycle
    end = config.warmup + length
    while end <= config.epochs * (1 + 1e-9):  # sums of cycles have rounding errors
        ends.append(end)
        length *= config.growth
        end += length
    return tuple(ends)


def _listed(value: Value) -> Value:
    """A list that was written as on the command line, ``"[64, 32]"``; anything else as it is."""
    return msgspec.json.decode(value, type=list[int]) if isinstance(value, str) and value.startswith("[") else value


def plain(config: Config) -> dict[str, Any]:
    """The fields as a dict for TOML, which has no null: those that are None are left out, and so are empty tables."""
    return {name: value for name, value in asdict(config).items() if value is not None and value != {}}


def to_toml(config: Config) -> str:
    """The configuration as the text of a file, for ``jax231 train --config FILE``."""
    import tomli_w

    return tomli_w.dumps({TABLE: plain(config)})


def from_toml(path: Path) -> Config:
    """The configuration in a TOML file.

    Raises: ValueError naming the file and what is wrong with it: a field that does not exist, a value out of range.
    """
    try:
        content = msgspec.toml.decode(path.read_bytes())
        unknown = sorted(set(content[TABLE]) - {known.name for known in fields(Config)})
        require(not unknown, TABLE, "fields of a training run", unknown=unknown)
        return msgspec.convert(content[TABLE], Config)
    except KeyError as error:
        raise ValueError(f"{path}: expected a table [{TABLE}]; got none") from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def difference(before: Config, after: Config) -> str:
    """The fields in which two configurations differ, ``"rate 0.1 -> 0.2; epochs 10 -> 20"``; empty where in none."""
    old, new = asdict(before), asdict(after)
    return "; ".join(f"{name} {old[name]} -> {new[name]}" for name in old if old[name] != new[name])
