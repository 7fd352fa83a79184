import os
import subprocess
import sys
from pathlib import Path


def test_on_eight_devices():
    """Parameters spread over a mesh, in a process that has so many devices."""
    file = Path(__file__).with_name("on_eight_devices.py")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(file)]
    done = subprocess.run(command, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
