import json
import re
import subprocess

import jax
import pytest

from jax231.core import processor
from jax231.measure import machine


def test_the_device_is_plain_data():
    found = machine.device()
    assert json.loads(json.dumps(found)) == found
    assert found["platform"] == jax.default_backend()
    assert found["cpu"] == processor.name() != ""
    assert found["cores"] >= 1
    assert found["memory_gb"] > 0


def test_versions_are_plain_text():
    found = machine.versions()
    assert json.loads(json.dumps(found)) == found
    assert found["jax"] == jax.__version__
    assert all(re.match(r"\d+\.\d+", version) for version in found.values())


def test_the_revision_is_that_of_the_checkout_or_nothing():
    found = machine.revision()
    assert found is None or re.fullmatch(r"[0-9a-f]{12}\+?", found)


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of a package that consists of machine.py alone."""
    file = tmp_path / "jax231" / "measure" / "machine.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    monkeypatch.setattr(machine, "__file__", str(file))
    return tmp_path, file


def test_changed_files_are_marked(checkout):
    folder, file = checkout
    assert machine.revision() is None
    git(folder, "init")
    assert machine.revision() is None  # no commit yet
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    clean = machine.revision()
    assert re.fullmatch("[0-9a-f]{12}", clean)
    file.write_text("changed")
    assert machine.revision() == clean + "+"


def test_without_git_there_is_no_revision(checkout, monkeypatch):
    (checkout[0] / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert machine.revision() is None
