"""A model of pixels from its training to the pictures of its masks."""

import json

import numpy as np
import pytest

from jax231.core.types import Batch
from jax231.data import preprocess
from jax231.functional.metrics import mean_iou
from jax231.train import recipes, splits
from jax231.train.config import Config
from jax231.train.evaluate import laid_out, program
from jax231.train.loop import train
from jax231.train.predict import predict, segment
from jax231.train.run import open_run

PIL = pytest.importorskip("PIL.Image")


def made(n=24):
    """Images of 8x8 with a bright square somewhere, whose pixels are class 1."""
    random = np.random.default_rng(0)
    images = random.integers(0, 100, (n, 8, 8, 3)).astype(np.uint8)
    masks = np.zeros((n, 8, 8), np.int32)
    for image, mask, (i, j) in zip(images, masks, random.integers(0, 5, (n, 2)), strict=True):
        image[i : i + 4, j : j + 4] += 130
        mask[i : i + 4, j : j + 4] = 1
    part = Batch(images, masks)
    stats = preprocess.fit("per_channel", images)
    return splits.Splits("made", part, part, None, (8, 8, 3), ("dark", "bright"), stats, {})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks") / "run"
    config = Config(model="encoder_decoder", data="made", arguments={"channels": [4], "convolutions": 0}, epochs=20,
                    batch=8, optimizer="adam", rate=0.05, augment=("flip", "pad_crop"))  # fmt: skip
    return folder, train(config, folder, splits=made(), chunk=3)


def test_it_learns_and_its_score_is_the_mean_iou(trained, monkeypatch):
    folder, result = trained
    run, part = open_run(folder, "newest"), made().train
    masks = segment(run, part.inputs)
    assert result.validation.mean_iou > 0.8
    np.testing.assert_allclose(result.validation.mean_iou, mean_iou(masks, part.targets, 2), rtol=1e-5)
    monkeypatch.setattr("jax231.train.evaluate.MASKS", 7)  # the last batch then is a part of one
    scores = program(run.config, run.network, made())(run.params, run.state, laid_out(run.config, made(), part))
    np.testing.assert_allclose(scores.mean_iou, result.validation.mean_iou, rtol=1e-6)
    with pytest.raises(ValueError, match="predict: expected a model with one class an image"):
        predict(run, part.inputs)


def test_pictures_of_masks(call, trained, tmp_path):
    folder, _ = trained
    images = made().train.inputs[:2]
    for i, image in enumerate(images):
        PIL.fromarray(image).save(tmp_path / f"{i}.png")
    code, _, err = call("predict", folder, tmp_path / "0.png")
    assert code == 2
    assert "predict: expected --masks FOLDER" in err
    code, out, err = call(
        "predict", folder, tmp_path / "0.png", tmp_path / "1.png", "--masks", tmp_path / "masks", "--which", "newest",
        "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    expected = segment(open_run(folder, "newest"), images)
    for row, mask in zip(json.loads(out), expected, strict=True):
        with PIL.open(row["mask"]) as picture:
            np.testing.assert_array_equal(np.asarray(picture), mask)
        assert row["bright"] == pytest.approx((mask == 1).mean())
    code, out, _ = call("predict", folder, tmp_path / "0.png", "--masks", tmp_path / "masks")
    assert (code, " %" in out) == (0, True)
    (tmp_path / "bad.png").write_bytes(b"no image")
    code, out, err = call(
        "predict", folder, tmp_path / "bad.png", tmp_path / "1.png", "--masks", tmp_path / "others", "--corrupt", "skip"
    )
    assert (code, "bad.png: expected an image" in err) == (1, True)
    assert [path.name for path in (tmp_path / "others").iterdir()] == ["1.png"]


def test_masks_that_would_overwrite(call, trained, tmp_path):
    folder, _ = trained
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "0.png", tmp_path / "other" / "0.png"):
        PIL.fromarray(made().train.inputs[0]).save(path)
    code, _, err = call("predict", folder, tmp_path / "0.png", "--masks", tmp_path)
    assert (code, "do not overwrite the images" in err) == (2, True)
    code, _, err = call("predict", folder, tmp_path / "0.png", tmp_path / "other" / "0.png", "--masks", tmp_path / "m")
    assert (code, "images whose names differ" in err) == (2, True)
    assert not (tmp_path / "m").exists()


def test_models_and_data_that_do_not_fit(data_dir):
    with pytest.raises(ValueError, match="expected a model of pixels for data with masks; got model='softmax'"):
        splits.load(Config(model="softmax", data="nuclei"), data_dir)
    with pytest.raises(ValueError, match="expected data with masks for a model of pixels; got model='segnet'"):
        splits.load(Config(model="segnet", data="digits"), data_dir)
    assert splits.load(recipes.load("nuclei-segnet"), data_dir).validation.targets.shape == (51, 128, 128)
