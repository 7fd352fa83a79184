"""Test files that need a process of their own, with as many devices as they ask for."""

import os
import subprocess
import sys
from pathlib import Path


def run_on_eight_devices(*files: Path) -> None:
    """Run the tests in `files` in one process with eight devices of the host; fails with what it printed."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *map(str, files)]
    done = subprocess.run(command, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
