"""On what a run was made: versions, device, and how its epochs were cut into chunks; what decides about its bits."""

from pathlib import Path
from typing import Any

import msgspec

from jax231.core.files import write_whole
from jax231.measure import machine

DECISIVE = ("versions", "device", "devices", "deterministic")
"""What must be the same for a resumed run to have the same bits."""


def describe(*, chunk: int, devices: int, deterministic: bool) -> dict[str, Any]:
    """The environment of this process, with the steps a chunk of the run."""
    device = machine.device()
    return {
        "versions": machine.versions(),
        "revision": machine.revision(),
        "device": {name: device[name] for name in ("platform", "kind", "cpu", "cores", "memory_gb", "os")},
        "devices": devices,
        "deterministic": deterministic,
        "chunk": chunk,
    }


def write(folder: Path, environment: dict[str, Any]) -> None:
    """Keep the environment in the folder of the run."""
    write_whole(folder / "environment.json", msgspec.json.format(msgspec.json.encode(environment)))


def read(folder: Path) -> dict[str, Any] | None:
    """The environment in which the run began, None before it was known."""
    path = folder / "environment.json"
    return msgspec.json.decode(path.read_bytes()) if path.exists() else None


def changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What differs and may change the bits, ``"versions.jax 0.10.2 -> 0.12.0"``; empty where nothing does."""
    pairs = []
    for name in DECISIVE:
        old, new = before.get(name), now[name]
        if isinstance(new, dict):
            old = old or {}
            keys = [key for key in new if key not in ("os", "memory_gb")]
            pairs += [(f"{name}.{key}", old.get(key), new[key]) for key in keys]
        else:
            pairs.append((name, old, new))
    return "; ".join(f"{name} {old} -> {new}" for name, old, new in pairs if old != new)
