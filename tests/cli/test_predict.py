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


def test_runs_are_averaged(call, trained, tmp_path):
    from jax231.train.config import Config
    from jax231.train.ensemble import predict as together
    from jax231.train.loop import train
    from jax231.train.predict import predict as alone
    from jax231.train.run import open_run

    other = tmp_path / "other"
    train(Config(model="two_layer", epochs=5, rate=0.1), other, chunk=9)
    code, out, err = call("ensemble", trained, other, "--json")
    assert (code, err) == (0, "")
    rows = {row["run"]: row["accuracy"] for row in json.loads(out)}
    assert rows["mean of them"] == pytest.approx((rows[str(trained)] + rows[str(other)]) / 2)
    assert rows["ensemble"] > 0.9
    images = digits().test.images[:300]
    found, mean = [open_run(trained), open_run(other)], 0
    for run in found:
        mean = mean + alone(run, images) / 2
    np.testing.assert_allclose(together(found, images), mean, rtol=1e-6)
    code, out, _ = call("ensemble", trained, other)
    assert (code, "ensemble" in out) == (0, True)
    svm = tmp_path / "svm"
    train(Config(model="svm", epochs=1, rate=0.01), svm, chunk=9)
    code, _, err = call("ensemble", trained, svm)
    assert (code, "models that give probabilities; got model='svm'" in err) == (2, True)


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


def test_a_damaged_image_among_others(call, trained, tmp_path):
    for i in range(2):
        PIL.fromarray(digits().train.images[i, :, :, 0]).save(tmp_path / f"{i}.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    code, out, err = call("predict", trained, tmp_path)
    assert (code, out, "bad.png: expected an image" in err) == (2, "", True)
    code, out, err = call("predict", trained, tmp_path, "--corrupt", "skip", "--top", "1", "--json")
    assert [row["image"] for row in json.loads(out)] == [str(tmp_path / f"{i}.png") for i in range(2)]
    assert (code, len(err.splitlines())) == (1, 1)
    assert err.startswith(f"jax231: skipped {tmp_path / 'bad.png'}: expected an image")
    code, out, err = call("predict", trained, tmp_path / "bad.png", "--corrupt", "skip")
    assert (code, out, "expected an image that is not damaged" in err) == (2, "", True)
    code, _, err = call("predict", trained, tmp_path / "0.png", "--corrupt", "skip")
    assert (code, err) == (0, "")
    code, _, err = call("predict", trained, tmp_path / "none.png", tmp_path / "0.png", "--corrupt", "skip")
    assert (code, "none.png: No such file" in err) == (2, True)


def test_recipes_are_listed(call):
    code, out, _ = call("recipes")
    assert code == 0
    assert "mnist-convnet" in out
