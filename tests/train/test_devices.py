"""Training over several devices, in a process that has them."""

from pathlib import Path

from tests.processes import run_on_eight_devices


def test_on_eight_devices():
    run_on_eight_devices(Path(__file__).with_name("on_eight_devices.py"))
