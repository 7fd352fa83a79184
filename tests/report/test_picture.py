import sys

import pytest

from jax231.report.picture import write_picture
from tests.report.study import write_study


@pytest.fixture
def folder(tmp_path):
    pairs = {"problems": ("softmax", "mlp"), "optimizers": ("sgd", "adam", "damped_newton", "lbfgs")}
    return write_study(tmp_path / "digits", fail=(("softmax", "sgd"),), titles={"adam": "Adam $x$"}, **pairs)


def test_png_and_svg(folder):
    pytest.importorskip("matplotlib")
    assert write_picture(folder, folder / "all.png") == folder / "all.png"
    assert (folder / "all.png").read_bytes().startswith(b"\x89PNG")
    write_picture(folder, str(folder / "one.svg"), problem="mlp")
    drawn = (folder / "one.svg").read_bytes()
    assert b"<svg" in drawn
    write_picture(folder, folder / "again.svg", problem="mlp")
    assert (folder / "again.svg").read_bytes() == drawn


def test_what_cannot_be_drawn_is_said(folder):
    with pytest.raises(ValueError, match=r"write_picture: expected a path ending in \.png or \.svg; got 'x\.gif'"):
        write_picture(folder, "x.gif")
    with pytest.raises(ValueError, match=r"expected one of \['softmax', 'mlp'\]; got problem='convnet'"):
        write_picture(folder, folder / "x.png", problem="convnet")
    (folder / "runs.jsonl").unlink()
    with pytest.raises(ValueError, match=r"digits: expected final runs of \['softmax', 'mlp'\]; got none"):
        write_picture(folder, folder / "x.png")


def test_a_missing_library_is_named_with_its_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"expected the figures extra; pip install '\.\[figures\]'"):
        write_picture(folder, folder / "x.png")
