"""The trend table of one network, on small images."""

import json

import pytest

pytest.importorskip("matplotlib")
import architectures


def test_it_counts_layers_filters_and_writes_the_table(tmp_path):
    document = tmp_path / "README.md"
    document.write_text(f"before\n{architectures.BEGIN}\nold\n{architectures.END}\n")
    config = architectures.Config(names=("alexnet", "resnet18"), size=64, folder=tmp_path, document=document)
    alexnet, resnet = architectures.main(config)
    assert (alexnet.depth, alexnet.filters) == (8, {"11x11": 1, "5x5": 1, "3x3": 3})
    assert (resnet.depth, resnet.year, resnet.parameters) == (18, 2015, 11_689_512)
    assert "| ResNet-18 | 2015 | 18 | 1 of 7x7, 16 of 3x3, 3 of 1x1 | 11.7 M |" in document.read_text()
    assert [row["name"] for row in json.loads((tmp_path / "architectures.json").read_text())["rows"]] == [
        "alexnet", "resnet18",
    ]  # fmt: skip
    assert (tmp_path / "architectures.png").stat().st_size > 10_000
