"""``jax231 predict``, ``sample`` and ``recipes``."""

import json

import numpy as np
import pytest

from jax231.data.digits import digits

PIL = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from jax231.train.config import Config
    from jax231.train.loop import train

    folder = tmp_path_factory.mktemp("predict") / "run"
    train(Config(model="softmax", epochs=5, rate=0.1), folder, chunk=9)
    return folder


def test_images_are_classified(call, trained, tmp_path):
    for i in range(2):
        PIL.fromarray(digits().train.images[i, :, :, 0]).resize((16, 16)).convert("RGB").save(tmp_path / f"{i}.png")
    code, out, err = call("predict", trained, tmp_path / "0.png", tmp_path / "1.png", "--top", "3", "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [row["rank"] for row in rows] == [1, 2, 3, 1, 2, 3]
    assert rows[0]["probability"] > rows[1]["probability"]
    code, out, _ = call("predict", trained, tmp_path)
    assert code == 0
    assert out.count(".png") == 2
    assert " %" in out


def test_what_cannot_be_classified(call, trained, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(np.arange(50, dtype=np.uint8).tobytes())
    code, _, err = call("predict", trained, tmp_path / "bad.jpg")
    assert code == 2
    assert "bad.jpg" in err
    assert "an image" in err
    code, _, err = call("predict", trained)
    assert (code, "at least one image" in err) == (2, True)
    code, _, err = call("sample", trained)
    assert (code, "a run on text" in err) == (2, True)


def test_recipes_are_listed(call):
    code, out, _ = call("recipes")
    assert code == 0
    assert "mnist-convnet" in out
