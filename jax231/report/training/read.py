"""The files of a training run, finished or not: `read_training`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from jax231.core.files import read_records
from jax231.report.read import Device

TABLES = {"compare": "comparison", "train": "training run"}
"""What a folder is by the table in its config.toml."""

Content = TypeVar("Content")


class Facts(msgspec.Struct, frozen=True):
    """data.json: what is known of the data; `steps` are those of an epoch."""

    data: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    steps: int
    batch: int
    digests: dict[str, str] = {}


class Environment(msgspec.Struct, frozen=True):
    """environment.json: on what the run began."""

    versions: dict[str, str | None] = {}
    revision: str | None = None
    device: Device = Device()
    devices: int = 1
    deterministic: bool = False
    chunk: int | None = None


@dataclass(frozen=True)
class Training:
    """A run folder in memory.

    `config` is the table of its configuration, `text` the file; `facts` and `environment` are None before they were
    known. `chunks` and `epochs` are the lines of metrics.jsonl, `test` the last one's scores at the end of the run;
    `stopped` says why training stopped, where it did.
    """

    folder: Path
    config: dict[str, Any]
    text: str
    facts: Facts | None
    environment: Environment | None
    chunks: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    test: dict[str, Any] | None
    stopped: str | None

    @property
    def done(self) -> int:
        """Epochs that are finished."""
        return self.epochs[-1]["epoch"] if self.epochs else 0

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.done >= self.config["epochs"]

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps."""
        return sum((chunk["seconds"] for chunk in self.chunks), 0.0)


def kind(folder: Path | str) -> str:
    """What is in a run folder, "comparison" or "training run".

    Raises: ValueError naming both where it is neither.
    """
    folder = Path(folder)
    seen = "no such folder"
    if (folder / "study.json").is_file():
        return "comparison"
    path = folder / "config.toml"
    if path.is_file():
        tables = list(_parsed(path))
        found = [name for table, name in TABLES.items() if table in tables]
        if found:
            return found[0]
        seen = f"a config.toml with {', '.join(f'[{table}]' for table in tables) or 'no table'}"
    elif folder.is_dir():
        seen = "a folder with neither"
    raise ValueError(
        f"{folder}: expected the folder of a comparison (study.json, config.toml with [compare]; jax231 compare) or of "
        f"a training run (config.toml with [train]; jax231 train); got {seen}"
    )


def read_training(folder: Path | str) -> Training:
    """Read the files of a training run; those of one that has just begun may be missing but for the first.

    Raises: ValueError for another folder, and for a damaged file, by its name.
    """
    folder = Path(folder)
    found = kind(folder)
    if found != "training run":
        raise ValueError(f"{folder}: expected the folder of a training run; got that of a {found}")
    path = folder / "config.toml"
    config = _parsed(path)["train"]
    if not isinstance(config, dict) or not {"model", "data", "optimizer", "epochs"} <= set(config):
        raise ValueError(f"{path}: expected model, data, optimizer and epochs in its table [train]; got {config}")
    records = list(read_records(folder / "metrics.jsonl"))
    by_kind = {name: [r for r in records if r["kind"] == name] for name in ("chunk", "epoch", "test")}
    last = records[-1] if records else {}
    return Training(
        folder,
        config,
        path.read_text(encoding="utf-8"),
        _decoded(folder / "data.json", Facts),
        _decoded(folder / "environment.json", Environment),
        by_kind["chunk"],
        by_kind["epoch"],
        by_kind["test"][-1] if by_kind["test"] else None,
        last["reason"] if last.get("kind") == "stopped" else None,
    )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected TOML; got {error}") from error


def _decoded(path: Path, content: type[Content]) -> Content | None:
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=content)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: expected what `jax231 train` writes there; got {error}") from error
