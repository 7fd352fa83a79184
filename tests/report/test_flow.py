"""Panels of numbers by layer."""

import pytest

from jax231.report.flow import Panel, write_flow

PANELS = [Panel("One", "layer", "norm", {"a": [1.0, 0.1, 0.0], "b": [1.0, 2.0, 3.0]})] * 3


@pytest.mark.parametrize(("suffix", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures(tmp_path, suffix, head):
    pytest.importorskip("matplotlib")
    assert write_flow(PANELS, tmp_path / f"flow.{suffix}").read_bytes().startswith(head)


def test_what_it_refuses(tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.png or \.svg"):
        write_flow(PANELS, tmp_path / "flow.pdf")
    with pytest.raises(ValueError, match="at least one panel"):
        write_flow([], tmp_path / "flow.png")
