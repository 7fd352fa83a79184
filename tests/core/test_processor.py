import platform

from jax231.core import processor

ARM = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\nBogoMIPS\t: 50.00\n"


def test_the_name_is_part_of_the_identity():
    assert processor.name()
    assert platform.machine() in processor.identity()
    assert processor.identity() == processor.identity()


def test_a_processor_without_a_name_is_known_by_its_instructions(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(ARM + ARM.replace(": 0\n", ": 1\n", 1))
    assert processor.name()
    before = processor.identity()
    assert before.splitlines()[2:] == ["CPU implementer: 0x41", "CPU part: 0xd40", "Features: fp asimd sve"]
    (tmp_path / "cpuinfo").write_text(ARM.replace(" sve", ""))
    assert processor.identity() != before


def test_a_machine_without_cpuinfo_still_has_a_name(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "missing")
    assert processor.name()
    assert processor.identity()
