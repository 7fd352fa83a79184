"""On which machine and with which versions something was measured."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from jax231.core import processor


def device() -> dict[str, Any]:
    """The accelerator that JAX uses and the computer around it."""
    import jax

    local = jax.local_devices()
    return {
        "platform": jax.default_backend(),
        "kind": local[0].device_kind,
        "count": len(local),
        "cpu": processor.name(),
        "cores": cores(),
        "memory_gb": round(memory() / 2**30, 1),
        "os": f"{platform.system()} {platform.release()}",
    }


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """The bytes of memory that the computer has."""
    return psutil.virtual_memory().total


def versions() -> dict[str, str]:
    """Versions of jax231 and of what its numbers depend on."""
    import jax231

    found = {"jax231": jax231.__version__, "python": sys.version.split()[0]}
    for package in ("jax", "jaxlib", "optax", "numpy", "scipy"):
        found[package] = metadata.version(package)
    return found


def revision() -> str | None:
    """The git commit that this jax231 was imported from, with ``+`` where files differ; None outside a checkout."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):  # no git here, or a repository that is not ours to read
        return None
    return commit + ("+" if changed else "")


def _git(folder: Path, *words: str) -> str:
    result = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout.strip()
