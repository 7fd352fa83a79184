"""The files of a finished or interrupted comparison, checked: `read_study`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from jax231.core.files import read_records
from jax231.measure.summary import Lane, Number, Run

FORMAT = 1


class Device(msgspec.Struct, frozen=True):
    """The machine of a comparison."""

    platform: str = "unknown"
    kind: str = ""
    count: int = 1
    cpu: str = ""
    cores: int | None = None
    memory_gb: Number | None = None
    os: str = ""


class Rates(msgspec.Struct, frozen=True):
    """What an evaluation costs on a problem: seconds of one full gradient, the others in gradient-equivalents."""

    gradient_seconds: Number | None = None
    loss: Number | None = None
    hvp: Number | None = None
    hessian: Number | None = None
    ggnvp: Number | None = None
    spread: dict[str, Any] = {}


class Problem(msgspec.Struct, frozen=True):
    """The facts of one problem. `optimizers` names those that apply to it; None means all of the study."""

    title: str
    source: str = ""
    data: str = ""
    parameters: int | None = None
    examples: dict[str, int] = {}
    batch: int | None = None
    objective: str = ""
    expected_start: Number | None = None
    lower_bound: Number | None = None
    convex: bool | None = None
    budget: Number | None = None
    rates: Rates = Rates()
    optimizers: list[str] | None = None


class Optimizer(msgspec.Struct, frozen=True):
    """The facts of one optimizer and the grid of its one setting."""

    title: str
    order: int
    setting: str = "step size"
    mode: str = ""
    grid: list[Number] = []
    note: str | None = None


class Study(msgspec.Struct, frozen=True):
    """study.json: what was compared, on which machine, with which versions."""

    format: int
    name: str
    problems: dict[str, Problem]
    optimizers: dict[str, Optimizer]
    created: str = ""
    command: str = ""
    versions: dict[str, str | None] = {}
    device: Device = Device()
    revision: str | None = None
    seeds: list[int] = []
    fresh_seeds: list[int] = []
    digests: dict[str, str | None] = {}


@dataclass(frozen=True)
class Results:
    """A run folder in memory. `missing` says in sentences what an interrupted study has not run yet."""

    folder: Path
    config: str
    study: Study
    lanes: list[Lane]
    runs: list[Run]
    missing: list[str]


def read_study(folder: Path | str) -> Results:
    """Read `config.toml`, `study.json`, `sweep.jsonl` and `runs.jsonl` of a run folder.

    Unknown keys are passed over. Of records with the same problem, optimizer, setting and seed the last one counts.
    `sweep.jsonl` and `runs.jsonl` may be absent or incomplete (an interrupted study); the other two may not.

    Raises: ValueError naming the file, what was expected in it and what to do.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected the folder of a comparison; make one with `jax231 compare`")
    config = _read_config(folder / "config.toml")
    study = _read_facts(folder / "study.json")
    lanes = _read_all(folder / "sweep.jsonl", Lane, study)
    runs = _read_all(folder / "runs.jsonl", Run, study)
    settings = {(run.problem, run.optimizer): run.setting for run in runs}
    for run in runs:
        if run.setting != settings[run.problem, run.optimizer]:
            where = f"{folder / 'runs.jsonl'}: expected final runs of one setting for {run.optimizer} on {run.problem}"
            raise ValueError(f"{where}; got {run.setting:g} and {settings[run.problem, run.optimizer]:g}")
    return Results(folder, config, study, lanes, runs, _missing(study, lanes, runs))


def applies(study: Study, problem: str, optimizer: str) -> bool:
    """Whether the study means to run `optimizer` on `problem`."""
    chosen = study.problems[problem].optimizers
    return chosen is None or optimizer in chosen


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = "is this the folder of a comparison? `jax231 compare` writes the file at its start"
        raise ValueError(f"{path}: expected a file written by `jax231 compare`; got none ({hint})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a readable UTF-8 file; got {error}") from error


def _read_config(path: Path) -> str:
    text = _read_text(path)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: expected TOML; got {error}; {_AGAIN}") from error
    return text


def _read_facts(path: Path) -> Study:
    text = _read_text(path)
    try:
        study = msgspec.json.decode(text, type=Study)
    except (msgspec.DecodeError, UnicodeError) as error:  # a ValidationError, naming the key, is a DecodeError
        raise ValueError(f"{path}: expected the facts of a study, format {FORMAT}; got: {error}; {_AGAIN}") from error
    if study.format != FORMAT:
        hint = "it was written by another version of jax231; use that version to read it"
        raise ValueError(f"{path}: expected format {FORMAT}; got format={study.format} ({hint})")
    return study


_AGAIN = "restore the file or run the comparison again under another name"


def _read_all(path: Path, kind: Any, study: Study) -> list[Any]:
    kept = {}
    for number, record in enumerate(read_records(path), 1):
        try:
            entry = msgspec.convert(record, kind)
        except (msgspec.ValidationError, ValueError) as error:
            raise ValueError(f"{path}, record {number}: expected a {kind.__name__}; got: {error}; {_AGAIN}") from error
        for known, name in ((study.problems, entry.problem), (study.optimizers, entry.optimizer)):
            if name not in known:
                raise ValueError(
                    f"{path}, record {number}: expected one of {list(known)} as in study.json; got {name!r}"
                )
        key = (entry.problem, entry.optimizer, float(entry.setting), entry.seed)
        kept[key] = entry
    return list(kept.values())


def _missing(study: Study, lanes: list[Lane], runs: list[Run]) -> list[str]:
    sentences = []
    for problem, facts in study.problems.items():
        for optimizer, kind in study.optimizers.items():
            if not applies(study, problem, optimizer):
                continue
            where = f"{kind.title} on {facts.title}"
            tried = sum((lane.problem, lane.optimizer) == (problem, optimizer) for lane in lanes)
            planned = len(kind.grid) * len(study.seeds)
            if tried < planned:
                sentences.append(f"{where}: {tried} of {planned} runs of the sweep")
            ran = {run.seed for run in runs if (run.problem, run.optimizer) == (problem, optimizer)}
            if len(ran) < len(study.fresh_seeds):
                sentences.append(f"{where}: {len(ran)} of {len(study.fresh_seeds)} final runs")
    return sentences
