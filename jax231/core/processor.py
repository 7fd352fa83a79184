"""Which processor this is."""

import platform
import subprocess
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_INSTRUCTIONS = {"flags", "Features", "CPU implementer", "CPU part", "CPU variant"}


def name() -> str:
    """The processor's name; `platform.processor` is empty on Linux."""
    found = _cpuinfo({"model name"})
    return min(found).partition(": ")[2] if found else platform.processor() or platform.machine()


def identity() -> str:
    """Name and instructions: code tuned to a processor runs on any other with the same identity."""
    facts = sorted(_cpuinfo({"model name", *_INSTRUCTIONS}))
    if not facts and platform.system() == "Darwin":
        facts = [_sysctl("machdep.cpu.brand_string")]
    return "\n".join([platform.system(), platform.machine(), *facts])


def _cpuinfo(keys: set[str]) -> set[str]:
    """Lines ``"key: value"`` of /proc/cpuinfo, those that all cores share once; none on another system."""
    if not _CPUINFO.exists():
        return set()
    pairs = (line.partition(":") for line in _CPUINFO.read_text().splitlines())
    return {f"{key.strip()}: {value.strip()}" for key, _, value in pairs if key.strip() in keys}


def _sysctl(key: str) -> str:
    try:
        return subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
