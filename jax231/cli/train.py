"""``jax231 train`` and ``jax231 evaluate``: models that learn, and how good they became."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, ArgumentCollection, Parameter
from cyclopts.config import Dict
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jax231.cli.ensemble import points
from jax231.cli.listings import show
from jax231.cli.views import NONE, Views
from jax231.core.checks import require
from jax231.models import zoo
from jax231.train.config import TABLE, Config, StreamName, from_toml, plain

if TYPE_CHECKING:
    from jax231.train.loop import Result

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def _from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Put the configuration of ``--config``, ``--recipe`` or ``--resume`` in the place of flags that were not given."""
    found = {name: arguments.get(name) for name in ("--config", "--recipe", "--resume")}
    given = {name: argument.tokens[0].value for name, argument in found.items() if argument and argument.tokens}
    named = {name.strip("-"): value for name, value in given.items()}
    require(len(given) <= 1, "train", "one of a configuration file, a recipe and a run to go on with", **named)
    for name, value in given.items():
        config = _read(name, value)
        Dict({TABLE: _tokens(plain(config))}, source=value)(app, commands, arguments)


def _tokens(values: dict[str, Any]) -> dict[str, Any]:
    """The lists within tables as they are written on the command line, which would take them for repeated values."""
    tables = {name: x for name, x in values.items() if isinstance(x, dict)}
    return values | {
        name: {key: json.dumps(x) if isinstance(x, list) else x for key, x in table.items()}
        for name, table in tables.items()
    }


def _read(flag: str, value: str) -> Config:
    if flag == "--config":
        return from_toml(Path(value))
    if flag == "--recipe":
        from jax231.train import recipes

        return recipes.load(value)
    from jax231.train import folder

    return folder.read_config(Path(value))


train = App(name="train", help_format="plaintext", config=(_from_file,))


@train.default
def train_(
    choices: Annotated[Config, Parameter(name="*", consume_multiple=True, negative_iterable=())] = Config(),  # noqa: B008  immutable
    *,
    config: Path | None = None,
    recipe: str | None = None,
    resume: Path | None = None,
    name: str | None = None,
    runs: Path = Path("runs"),
    data_dir: Path | None = None,
    tensorboard: bool = False,
    devices: int | None = None,
    deterministic: bool = False,
    save_seconds: float = 30.0,
    stream: StreamName = "auto",
    workers: int | None = None,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> None:
    """Train a model.

    The run folder gets the configuration, the metrics and the checkpoints. Ctrl-C and SIGTERM save and end; --resume
    goes on where the last checkpoint is, and ends with the bits of an undisturbed run.

    Parameters
    ----------
    config
        Take the choices from this TOML file, such as the config.toml of a run; flags win over it.
    recipe
        Take the choices from the recipe of this name (`jax231 recipes` lists them); flags win over it.
    resume
        Go on with the run in this folder, by its own configuration.
    name
        Name of the run folder; default: MODEL-DATA.
    runs
        Folder that holds the run folders.
    data_dir
        Folder with the official files of the data sets; default: JAX231_DATA, else the user's cache.
    tensorboard
        Also write event files for TensorBoard into the run folder.
    devices
        Spread every batch over so many devices, 0 for all there are; default: 1, of a resumed run what it had.
    deterministic
        Let a GPU compute in the same order always, which is slower; CPUs do anyway.
    save_seconds
        Seconds between two checkpoints.
    stream
        Leave the images of a folder in their files and decode them batch by batch: where they are too large for memory
        (auto), always or never.
    workers
        Threads that decode images; default: one a processor. The result does not depend on their number.
    coordinator
        Train together with other processes, which are started by the same command: HOST:PORT of the first.
    processes
        How many they are.
    process
        Which of them this is, from 0; the first writes what there is to read.
    """
    del config, recipe  # `_from_file` has read them
    from jax231.train import environment

    together = coordinator is not None
    whole = together == (processes is not None) == (process is not None)
    require(whole, "train", "coordinator, processes and process together, or none of them",
            coordinator=coordinator, processes=processes, process=process)  # fmt: skip
    target, before = runs / (name or f"{choices.model}-{Path(choices.data).stem}"), None
    if resume is not None:
        target, before = resume, environment.read(resume)
    devices = (0 if together else (before or {}).get("devices", 1)) if devices is None else devices
    require(devices >= 0, "train", "a number of devices, 0 for all", devices=devices)
    require(save_seconds >= 0, "train", "save_seconds of at least 0", save_seconds=save_seconds)
    deterministic = deterministic or bool((before or {}).get("deterministic"))
    if deterministic:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}"

    from jax231.train.loop import train as run

    console = Console(quiet=bool(process))
    events = target if tensorboard and not process else None
    with _joined(coordinator, processes, process), _watching(console, events) as watcher:
        result = run(
            choices, target, resume=resume is not None, data_dir=data_dir, watcher=watcher, devices=devices,
            deterministic=deterministic, save_seconds=save_seconds, stream=stream, workers=workers,
        )  # fmt: skip
    for line in _ending(choices, result):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"run: {target}/", soft_wrap=True, highlight=False)


def _ending(config: Config, result: "Result") -> list[str]:
    """What the last and the best checkpoint score, and which of them the other commands use."""
    epoch_steps = int(result.train.step) // config.epochs

    def line(name: str, found: "Result") -> str:
        step, said = int(found.train.step), list[str]()
        for split, scores in (("validation", found.validation), ("test", found.test)):
            if scores is not None:
                several = found.together.get(split)
                alone = several and f" (the mean of {len(several.members)} alone: {_said(several.mean._asdict())})"
                said.append(f"{split} {_said(scores._asdict())}{alone or ''}")
        return f"{name} (step {step}, epoch {-(-step // epoch_steps)}): {'; '.join(said) or 'no split to judge it by'}"

    lines, use = [line("last checkpoint", result)], "evaluate, predict and report use"
    by = {"mean_iou": "mean IoU"}.get(measure := zoo.entry(config.model).measure, measure)
    if result.best is not None:
        lines.append(line(f"best checkpoint by validation {by}", result.best))
        return [*lines, f"{use} the best checkpoint; with --which newest the last."]
    if config.snapshots:
        return [*lines, f"{use} it, with its snapshots together."]
    why = "no split validates" if result.validation is None else f"it is also the best by validation {by}"
    return [*lines, f"{use} it: {why}."]


def evaluate(
    run: Path,
    *,
    split: Literal["train", "validation", "test"] | None = None,
    which: Literal["best", "newest"] = "best",
    data_dir: Path | None = None,
    views: Annotated[Views, Parameter(name="*", consume_multiple=True, negative_iterable=())] = NONE,
    json: bool = False,
) -> None:
    """Evaluate a training run on a split of its data.

    Of a run of several members or snapshots: each alone, their mean, and all together, as they predict.

    Parameters
    ----------
    run
        The run folder, for instance runs/convnet-digits.
    split
        Which examples; default: the test split, of a text the validation split.
    which
        The checkpoint: the best by its score on the validation split, or the newest.
    data_dir
        Folder with the official files of the data sets; default: JAX231_DATA, else the user's cache.
    json
        Print JSON.
    """
    from jax231.train.evaluate import laid_out, program, together
    from jax231.train.run import open_run

    console = Console(stderr=json)
    found = open_run(run, which, say=console.print)
    splits = found.dataset(data_dir)
    split = split or ("validation" if splits.test is None else "test")
    part = getattr(splits, split)
    require(part is not None, "evaluate", "a split that the data have", split=split, data=splits.name)
    laid, seen = laid_out(found.config, splits, part), views.build()
    row: dict[str, Any] = {"model": found.config.model, "data": splits.name, "split": split, "step": found.step}
    if views.views is not None:
        row["views"] = views.views
    if len(found.members) > 1:
        several = together(found.config, found.network, splits, seen)(*found.stacked(), laid)
        row |= several.ensemble._asdict() | {
            "members": [{"name": member.name, **scores._asdict()}
                        for member, scores in zip(found.members, several.members, strict=True)],
            "mean": several.mean._asdict(),
            "over_mean": several.ensemble.accuracy - several.mean.accuracy,
            "over_last": several.ensemble.accuracy - several.members[-1].accuracy,
        }  # fmt: skip
    else:
        row |= program(found.config, found.network, splits, seen)(found.params, found.state, laid)._asdict()
    if json:
        show([row], {}, json=True, title="")
    else:
        for member in row.get("members", ()):
            console.print(f"{member['name']}: {_said(member)}", highlight=False)
        if "mean" in row:
            console.print(f"mean of them: {_said(row['mean'])}", highlight=False)
        how = f", {views.views}" if views.views else ""
        at = f"{which} checkpoint (step {found.step})"
        whole = f"{row['model']} on {row['data']}, {split}, {at}{how}: {_said(row)}"
        gained = f"; together {points(row['over_mean'])} over the mean" if "mean" in row else ""
        if found.config.snapshots and "mean" in row:
            gained += f", {points(row['over_last'])} over the last"
        console.print(whole + gained, highlight=False, soft_wrap=True)


def _said(scores: dict[str, Any], prefix: str = "") -> str:
    """The scores in words: ``loss 0.123, accuracy 97.20 %``; of several members with the range of theirs."""
    words = []
    for name, form in (("loss", "{:.4g}"), ("accuracy", "{:.2%}"), ("mean_iou", "{:.2%}")):
        value, each = scores.get(prefix + name), scores.get(f"{prefix}{name}_members", ())
        if value is not None:
            known = [x for x in each if x is not None]
            span = f" ({form.format(min(known))} .. {form.format(max(known))})" if known else ""
            words.append(f"{name.replace('_', ' ')} {form.format(value)}{span}".replace("%", " %"))
    return ", ".join(words)


class _Bar:
    """Draws a run's progress on a terminal, and a line an epoch."""

    def __init__(self, progress: Progress, events: Any):
        self._progress, self._events = progress, events
        self._task: TaskID | None = None
        self._done = self._epochs = 0
        self._preparing = progress.add_task("reading data, compiling", total=None, now="")

    def begin(self, config: Config, *, steps: int, done: int, epoch_steps: int, batch: int) -> None:
        self._epochs, self._done = config.epochs, done
        self._progress.remove_task(self._preparing)
        if done:
            self.note(f"Going on after step {done} of {steps}." if done < steps else "Nothing is left to do.")
        self._task = self._progress.add_task(f"{config.model} on {config.data}", total=steps, completed=done, now="")

    def chunk(self, record: dict[str, Any]) -> None:
        rate = f"{record['examples_per_second']:.3g}/s"
        if self._task is not None:
            self._progress.update(self._task, completed=record["step"], now=f"{_said(record)}, {rate}")
        if self._events is not None:
            values = {name: record[name] for name in ("loss", "accuracy", "examples_per_second")}
            self._events.scalars(record["step"], {name: x for name, x in values.items() if x is not None})

    def epoch(self, record: dict[str, Any]) -> None:
        held_out = _said(record, "validation_")
        held_out = f"; validation {held_out}" if held_out else ""
        seconds = f"{record['seconds']:.3g} s"
        self.note(f"epoch {record['epoch']}/{self._epochs}: {_said(record)}{held_out}; {seconds}")
        if self._events is not None:
            numbers = {name: x for name, x in record.items() if isinstance(x, float)}
            scores = {name: x for name, x in numbers.items() if name.startswith("validation_")}
            self._events.scalars(record["step"], scores)

    def note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def _joined(coordinator: str | None, count: int | None, index: int | None) -> Iterator[None]:
    """Within the context this process is one of several, where it was asked to be; the loss of one ends it at once."""
    if coordinator is None or count is None or index is None:
        yield
        return
    from jax231.train import processes

    try:
        processes.join(coordinator, count, index)
        yield
        processes.part()
    except processes.LostError as error:
        print("jax231:", error, file=sys.stderr, flush=True)
        processes.leave(1)


@contextmanager
def _watching(console: Console, events_folder: Path | None) -> Iterator[_Bar]:
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[now]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    events = None
    if events_folder is not None:
        from jax231.train.events import EventWriter

        events = EventWriter(events_folder)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            yield _Bar(progress, events)
    finally:
        if events is not None:
            events.close()
