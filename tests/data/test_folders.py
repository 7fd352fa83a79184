"""Folders of images: classes by name, pixels as stored, everything else an error with the file's name."""

import numpy as np
import pytest

from jax231.data.errors import DataError, MissingDataError
from jax231.data.folders import image_folder

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def write(folder, counts, shape=(6, 5, 3)):
    """PNG files of random pixels, `counts[name]` a class; the pixels come back by class."""
    written = {}
    for name, n in counts.items():
        (folder / name).mkdir(parents=True)
        written[name] = RNG.integers(0, 256, (n, *shape), np.uint8)
        for i, pixels in enumerate(written[name]):
            Image.fromarray(pixels).save(folder / name / f"{i:03}.png")
    return written


def test_classes_pixels_and_the_stated_split(tmp_path):
    written = write(tmp_path, {"dog": 10, "cat": 20})
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    data = image_folder(tmp_path)
    assert data.classes == ("cat", "dog")
    assert (len(data.train.labels), len(data.test.labels), data.held_out) == (24, 6, 2)
    np.testing.assert_array_equal(np.bincount(data.test.labels), [4, 2])
    for label, name in enumerate(data.classes):
        ours = [i for part in (data.train, data.test) for i in part.images[part.labels == label]]
        assert {i.tobytes() for i in ours} == {i.tobytes() for i in written[name]}
    again = image_folder(str(tmp_path))
    np.testing.assert_array_equal(again.train.images, data.train.images)
    assert again.digests == data.digests
    (tmp_path / "cat" / "000.png").rename(tmp_path / "dog" / "999.png")
    assert image_folder(tmp_path).digests != data.digests


def test_a_given_split_is_kept(tmp_path):
    written = write(tmp_path / "train", {"a": 3, "b": 2})
    write(tmp_path / "test", {"b": 1})
    data = image_folder(tmp_path)
    np.testing.assert_array_equal(data.train.images, np.concatenate([written["a"], written["b"]]))
    np.testing.assert_array_equal(data.test.labels, [1])
    (tmp_path / "test").rename(tmp_path / "val")
    np.testing.assert_array_equal(image_folder(tmp_path).test.images, data.test.images)
    (tmp_path / "val").rename(tmp_path / "test")
    write(tmp_path / "test", {"a": 1}, shape=(5, 6, 3))
    with pytest.raises(DataError, match=r"test/a/000.png: expected an image \(6, 5\) as the first, or a size"):
        image_folder(tmp_path)
    write(tmp_path / "test", {"c": 1})
    with pytest.raises(DataError, match=r"test: expected the classes \['a', 'b'\] of training; found \['c'\]"):
        image_folder(tmp_path)


def test_size_and_channels(tmp_path):
    write(tmp_path, {"a": 4, "b": 1})
    write(tmp_path / "b", {"deeper": 1})
    write(tmp_path, {"c": 5}, shape=(9, 9, 4))
    with pytest.raises(
        DataError, match=r"c/000.png: expected an image \(6, 5\) as the first, or a size; found \(9, 9\)"
    ):
        image_folder(tmp_path)
    data = image_folder(tmp_path, size=(4, 3), channels=1)
    assert data.train.images.shape == (8, 4, 3, 1)
    with pytest.raises(ValueError, match="image_folder: expected a validation share"):
        image_folder(tmp_path, validation=1.0)


def test_a_corrupt_image_is_named(tmp_path):
    write(tmp_path, {"a": 2, "b": 2}, shape=(40, 40, 3))
    path = tmp_path / "b" / "001.png"
    whole = path.read_bytes()
    for content in (b"", b"not an image", whole[:60], whole[: len(whole) // 2], whole[:200] + b"XXXX" + whole[204:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"b/001.png: expected an image; found {len(content)} bytes \("):
            image_folder(tmp_path)
    Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"b/001.png: expected 8 bits a channel; found mode I;16"):
        image_folder(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(MissingDataError, match=r"none: expected one subfolder of images a class; found no such folder"):
        image_folder(tmp_path / "none")
    with pytest.raises(MissingDataError, match="expected one subfolder of images a class; found none"):
        image_folder(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(MissingDataError, match=r"a: expected images \(.bmp .*; found none"):
        image_folder(tmp_path)
