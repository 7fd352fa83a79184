"""Preprocessing: the laws of each kind on the training split, and that only the training split is looked at."""

import numpy as np
import pytest

from jax231.data import preprocess
from jax231.data.digits import digits
from jax231.data.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = (RNG.normal(size=(50, 4, 3, 2)) @ np.array([[40.0, 9.0], [0.0, 25.0]]) + 128).clip(0, 255).astype(np.uint8)


def covariance(x):
    flat = x.reshape(len(x), -1).astype(np.float64)
    return flat.T @ flat / len(x)


def test_none_only_changes_the_type():
    y = preprocess.apply(preprocess.fit("none", IMAGES), IMAGES)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, IMAGES)


def test_mean_image_is_its_definition():
    y = preprocess.apply(preprocess.fit("mean_image", IMAGES), IMAGES.astype(np.float64))
    np.testing.assert_allclose(y, IMAGES - IMAGES.mean(0), rtol=1e-14)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-12)


def test_channels_have_mean_zero_and_deviation_one():
    x = IMAGES.astype(np.float64)
    centred = preprocess.apply(preprocess.fit("per_channel_mean", IMAGES), x)
    np.testing.assert_allclose(centred, x - x.mean((0, 1, 2)), rtol=1e-12, atol=1e-12)
    scaled = preprocess.apply(preprocess.fit("per_channel", IMAGES), x)
    np.testing.assert_allclose(scaled, (x - x.mean((0, 1, 2))) / x.std((0, 1, 2)), rtol=1e-12, atol=1e-12)


def test_standardize_leaves_a_dead_pixel_at_zero():
    x = IMAGES.astype(np.float64)
    x[:, 0, 0, 0] = 7
    y = preprocess.apply(preprocess.fit("standardize", x), x)
    np.testing.assert_array_equal(y[:, 0, 0, 0], 0)
    np.testing.assert_allclose(y.reshape(50, -1)[:, 1:].std(0), 1, rtol=1e-12)


def test_whitened_training_split_has_covariance_one_and_pca_a_diagonal_one():
    x = IMAGES.astype(np.float64)
    np.testing.assert_allclose(covariance(preprocess.apply(preprocess.fit("whiten", x), x)), np.eye(24), atol=1e-9)
    rotated = covariance(preprocess.apply(preprocess.fit("pca", x), x))
    variances = np.diag(rotated)
    np.testing.assert_allclose(rotated, np.diag(variances), atol=1e-9 * variances[0])
    assert (np.diff(variances) <= 0).all()
    np.testing.assert_allclose(variances.sum(), x.reshape(50, -1).var(0).sum(), rtol=1e-12)


def test_pca_is_the_one_of_scikit_learn():
    reference = pytest.importorskip("sklearn.decomposition").PCA(5).fit_transform(IMAGES.reshape(50, -1).astype(float))
    ours = preprocess.apply(preprocess.fit("pca", IMAGES, components=5), IMAGES.astype(np.float64))
    np.testing.assert_allclose(np.abs(ours), np.abs(reference), rtol=1e-9, atol=1e-9)


def test_axes_without_variance_are_dropped():
    train = digits().train.images
    dead = int((train.reshape(len(train), -1).std(0) == 0).sum())
    white = preprocess.apply(preprocess.fit("whiten", train), train)
    assert dead > 0
    assert white.shape == (len(train), 64 - dead)
    np.testing.assert_allclose(covariance(white), np.eye(64 - dead), atol=1e-3)


def test_blocks_do_not_change_the_statistics(monkeypatch):
    whole = preprocess.fit("per_channel", IMAGES), preprocess.fit("pca", IMAGES)
    monkeypatch.setattr(preprocess, "BLOCK", 7)
    pieces = preprocess.fit("per_channel", IMAGES), preprocess.fit("pca", IMAGES)
    np.testing.assert_allclose(whole[0].scale, pieces[0].scale, rtol=1e-12)
    np.testing.assert_allclose(whole[1].basis, pieces[1].basis, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", preprocess.NAMES)
def test_other_splits_use_the_statistics_of_the_training_split(name):
    train, test = IMAGES[:30], IMAGES[30:]
    stats = preprocess.fit(name, train)
    together = preprocess.apply(stats, IMAGES)
    assert together.dtype == np.float32
    np.testing.assert_allclose(preprocess.apply(stats, test), together[30:], rtol=1e-6, atol=1e-5)
    assert name == "none" or not np.allclose(preprocess.fit(name, IMAGES).mean, stats.mean)


@pytest.mark.parametrize("name", preprocess.NAMES)
def test_saved_statistics_come_back_bit_for_bit(name, tmp_path):
    stats = preprocess.fit(name, IMAGES)
    preprocess.save(stats, tmp_path / "stats.npz")
    again = preprocess.load(tmp_path / "stats.npz")
    assert again.name == name
    np.testing.assert_array_equal(preprocess.apply(again, IMAGES), preprocess.apply(stats, IMAGES))
    assert [p.name for p in tmp_path.iterdir()] == ["stats.npz"]


def test_a_damaged_file_of_statistics_is_named(tmp_path):
    path = tmp_path / "stats.npz"
    preprocess.save(preprocess.fit("whiten", IMAGES), path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:-50], whole[:200], whole[:300] + b"????????" + whole[308:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"stats.npz: expected statistics of preprocessing; found"):
            preprocess.load(path)
    np.savez(path, name="zca", mean=0.0, scale=1.0, basis=np.zeros((0, 0)))
    with pytest.raises(DataError, match=r"expected statistics of one of none, .*; found zca"):
        preprocess.load(path)
    np.savez(path, weights=np.ones(3))
    with pytest.raises(DataError, match=r"expected statistics of preprocessing; found .*name"):
        preprocess.load(path)


def test_the_input_is_left_alone():
    x = IMAGES.astype(np.float64)
    preprocess.apply(preprocess.fit("standardize", x), x)
    np.testing.assert_array_equal(x, IMAGES)


def test_errors_say_what_was_seen():
    with pytest.raises(ValueError, match=r"preprocess.fit: expected a name among none, .*; got name='zca'"):
        preprocess.fit("zca", IMAGES)
    with pytest.raises(ValueError, match=r"with n > 0; got train_x=\(0, 4, 3, 2\)"):
        preprocess.fit("standardize", IMAGES[:0])
    with pytest.raises(ValueError, match=r"components within \[1, 24\]; got components=25"):
        preprocess.fit("pca", IMAGES, components=25)
    with pytest.raises(ValueError, match=r"components only for pca, whiten; got components=2"):
        preprocess.fit("standardize", IMAGES, components=2)
    with pytest.raises(ValueError, match=r"last axes are those of mean_image: \(4, 3, 2\); got x=\(5, 4, 3, 1\)"):
        preprocess.apply(preprocess.fit("mean_image", IMAGES), np.zeros((5, 4, 3, 1)))
    with pytest.raises(ValueError, match="examples that differ from one another"):
        preprocess.fit("whiten", np.ones((5, 3)))
