from pathlib import Path

from tests.processes import run_on_eight_devices


def test_on_eight_devices():
    """Primitives and convolutions on meshes, in one process that has so many devices."""
    folder = Path(__file__).parent
    run_on_eight_devices(folder / "eight_devices.py", folder / "convolution_on_eight_devices.py")
