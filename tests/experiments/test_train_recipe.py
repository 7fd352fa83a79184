"""A recipe for an epoch on few examples, through to its table."""

import pytest

pytest.importorskip("matplotlib")

import train_recipe


def test_a_recipe_end_to_end(tmp_path):
    document = tmp_path / "README.md"
    document.write_text(f"{train_recipe.BEGIN}\n{train_recipe.END}\n")
    config = train_recipe.Config(
        seeds=2, epochs=1, examples=64, runs=tmp_path / "runs", folder=tmp_path, document=document
    )
    facts = train_recipe.measure("digits-convnet", config)
    assert [run["seed"] for run in facts["runs"]] == [0, 1]
    assert [len(run["epochs"]) for run in facts["runs"]] == [1, 1]
    assert "| [digits-convnet](results/recipe-digits-convnet.png) | test " in document.read_text()
    assert (tmp_path / "recipe-digits-convnet.png").read_bytes().startswith(b"\x89PNG")
    again = train_recipe.measure("digits-convnet", config)
    assert [run["accuracy"] for run in again["runs"]] == [run["accuracy"] for run in facts["runs"]]
