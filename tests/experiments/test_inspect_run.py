"""A recipe for an epoch, through to its page and picture."""

import pytest

pytest.importorskip("matplotlib")

import inspect_run

from jax231.train.config import Config


def test_a_recipe_is_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr(inspect_run.recipes, "load", lambda name: Config(model="softmax", rate=0.1))
    config = inspect_run.Config(epochs=1, examples=256, runs=tmp_path / "runs", folder=tmp_path)
    page, picture = inspect_run.look("templates", config)
    assert page == tmp_path / "runs" / "inspect-templates" / "report.html"
    assert "Templates of the classes" in page.read_text()
    assert (picture.name, picture.read_bytes()[:4]) == ("inspect-templates.png", b"\x89PNG")
