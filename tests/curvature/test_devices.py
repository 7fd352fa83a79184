from pathlib import Path

from tests.processes import run_on_eight_devices


def test_on_eight_devices():
    """Parameters spread over a mesh, in a process that has so many devices."""
    run_on_eight_devices(Path(__file__).with_name("on_eight_devices.py"))
