"""The picture of a network: what is drawn as one card, and that it is drawn."""

from typing import NamedTuple

import pytest

from jax231.report.network import cards, joined, number, write_network


class Layer(NamedTuple):
    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    reads: tuple[int, ...]


class Block(NamedTuple):
    kind: str
    output: tuple[int, ...]


def residual(name, place, before):
    """Two convolutions with norms around which their inputs go."""
    size = (8, 8, 4)
    return [
        Layer(f"{name}/conv1", "Conv 3x3", size, 10, before),
        Layer(f"{name}/norm1", "BatchNorm, relu", size, 2, (place,)),
        Layer(f"{name}/conv2", "Conv 3x3", size, 10, (place + 1,)),
        Layer(f"{name}/norm2", "BatchNorm", size, 2, (place + 2,)),
    ]


NET = [
    Layer("stem", "Conv 3x3", (8, 8, 4), 7, (-1,)),
    *residual("stage/00", 1, (0,)),
    *residual("stage/01", 5, (0, 4)),
    Layer("scores", "Affine", (3,), 15, (0, 4, 8)),
]
BLOCKS = {
    "": Block("Net", (3,)),
    "stage": Block("Sequential", (8, 8, 4)),
    "stage/00": Block("Residual", (8, 8, 4)),
    "stage/01": Block("Residual", (8, 8, 4)),
}


def test_a_norm_belongs_to_the_layer_it_reads():
    cells = joined(NET)
    assert [(cell.kind, cell.normed, cell.parameters) for cell in cells[:3]] == [
        ("Conv 3x3", False, 7),
        ("Conv 3x3", True, 12),
        ("Conv 3x3", True, 12),
    ]
    assert cells[3].reads == (0, 2)


def test_alike_blocks_are_one_card():
    stem, block, scores = cards(NET, BLOCKS)
    assert (stem.parameters, scores.output) == (7, (3,))
    assert (block.title, block.times, block.parameters, block.skips) == ("Residual", 2, 48, True)
    assert (block.places, block.edges) == (((0, 0.0), (1, 0.0)), ((0, 1),))


def test_branches_stand_side_by_side():
    net = [
        Layer("squeeze", "Conv 1x1", (8, 8, 2), 1, (-1,)),
        Layer("fire/a", "Conv 1x1", (8, 8, 2), 1, (0,)),
        Layer("fire/b", "Conv 3x3", (8, 8, 2), 1, (0,)),
        Layer("last", "Conv 1x1", (8, 8, 2), 1, (1, 2)),
    ]
    _, fire, _ = cards(net, {"": Block("Net", (8, 8, 2)), "fire": Block("Fire", (8, 8, 4))})
    assert (fire.title, fire.output, fire.skips) == ("Fire fire", (8, 8, 4), False)
    assert [column for _, column in fire.places] == [0, 1]


@pytest.mark.parametrize(("suffix", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures_are_files_that_repeat(tmp_path, suffix, head):
    pytest.importorskip("matplotlib")
    first, second = (write_network(NET, BLOCKS, tmp_path / f"{i}.{suffix}", title="Net") for i in range(2))
    assert first.read_bytes().startswith(head)
    assert first.read_bytes() == second.read_bytes()


def test_what_it_refuses(tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.png or \.svg"):
        write_network(NET, BLOCKS, tmp_path / "net.jpg")
    with pytest.raises(ValueError, match="a model with layers"):
        write_network([], BLOCKS, tmp_path / "net.png")


def test_numbers_as_they_are_said():
    assert [number(count) for count in (850, 9408, 138_357_544)] == ["850", "9.41 k", "138.4 M"]
