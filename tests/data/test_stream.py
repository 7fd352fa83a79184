"""Batches from files: those that data in memory would give, by any number of workers, from any step on."""

import numpy as np
import pytest

from jax231.data import batches, stream
from jax231.data.check import check_folder
from jax231.data.decode import Form, read_image
from jax231.data.errors import DataError
from jax231.data.folders import list_folder
from tests import photos

SEED, BATCH, EPOCHS = 3, 4, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    photos.write(folder, 11, seed=0)
    photos.write(folder, 7, seed=1, suffix=".jpg")
    return folder


def files_of(folder, crop="none", skip=False, size=None):
    listing = list_folder(folder)
    shape = (*(size or (photos.SIDE, photos.SIDE)), 3)
    form = stream.ImageFiles(listing, np.arange(len(listing.names)), Form(size, 3, crop), shape, stream.Damage(skip), 2)
    return form, listing


def training(folder, **options):
    files, listing = files_of(folder, **options)
    return stream.Training(files, listing.labels, SEED, BATCH, EPOCHS)


def flowing(source, first, workers):
    flow = stream.flow(source, first, workers)
    try:
        return [list(batch) for batch in flow]
    finally:
        flow.close()


def assert_equal(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_a_stream_has_the_order_of_data_in_memory(folder):
    source = training(folder)
    images = source.files[:]
    labels = list_folder(folder).labels
    expected = []
    for epoch in range(EPOCHS):
        order = np.asarray(batches.order(SEED, epoch, len(images)))
        expected += [[images[chosen], labels[chosen]] for chosen in order[:16].reshape(-1, BATCH)]
    assert len(source) == len(expected) == 12
    assert_equal([source[step] for step in range(12)], expected)
    path = folder / source.files.name(5)
    np.testing.assert_array_equal(images[5], read_image(path, Form()))
    np.testing.assert_array_equal(source.files[[5, 2]], images[[5, 2]])
    np.testing.assert_array_equal(source.files[-1], images[-1])


@pytest.mark.parametrize("crop", ["none", "random"])
def test_workers_and_the_first_step_change_no_bit(folder, crop):
    once = flowing(training(folder, crop=crop, size=(4, 4)), 0, 0)
    assert len(once) == 12
    assert_equal(flowing(training(folder, crop=crop, size=(4, 4)), 0, 2), once)
    assert_equal(flowing(training(folder, crop=crop, size=(4, 4)), 6, 2), once[6:])
    assert flowing(training(folder, crop=crop, size=(4, 4)), 12, 2) == []


def test_random_parts_are_functions_of_seed_epoch_and_index(folder):
    files, _ = files_of(folder, "random", size=(4, 4))
    drawn = stream.draws(SEED, 1, 7)
    np.testing.assert_array_equal(drawn, stream.draws(SEED, 1, 7))
    assert all((drawn != stream.draws(*other)).all() for other in ((SEED, 2, 7), (SEED, 1, 8), (-1, 1, 7)))
    assert (files.image(7, drawn) != files.image(7, stream.draws(SEED, 2, 7))).any()
    np.testing.assert_array_equal(files.image(7), files.image(7))
    source = training(folder, crop="random", size=(4, 4))
    first = int(np.asarray(batches.order(SEED, 1, 18))[0])
    np.testing.assert_array_equal(source[4].inputs[0], files.image(first, stream.draws(SEED, 1, first)))


def test_every_example_is_judged_once(folder):
    files, listing = files_of(folder)
    source = stream.Judging(files, listing.labels, 7)
    found = [source[i] for i in range(len(source))]
    counted = [(image.tobytes(), label) for images, labels, weight in found
               for image, label, weighs in zip(images, labels, weight, strict=True) if weighs]  # fmt: skip
    assert counted == [(image.tobytes(), label) for image, label in zip(files[:], listing.labels, strict=True)]
    assert {len(weight) for *_, weight in found} == {7}


@pytest.fixture
def damaged(tmp_path):
    """A folder whose second image is cut off."""
    photos.write(tmp_path / "p", 9, suffix=".jpg")
    return tmp_path / "p", photos.damage(tmp_path / "p" / "a" / "003.jpg")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_is_named(damaged, workers):
    folder, _ = damaged
    with pytest.raises(DataError, match=r"a/003\.jpg: expected an image; found \d+ bytes \(.*[Tt]runcated"):
        flowing(training(folder), 0, workers)


def test_a_damaged_file_is_replaced_or_weighs_nothing(damaged):
    folder, _ = damaged
    source = training(folder, skip=True)
    found = flowing(source, 0, 2)
    images, whole = source.files.read(range(9))
    np.testing.assert_array_equal(np.flatnonzero(~whole), [1])
    assert list(source.files.damage.found) == ["a/003.jpg"]
    images[1] = images[2]
    order = np.concatenate([np.asarray(batches.order(SEED, epoch, 9))[:8] for epoch in range(EPOCHS)])
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in found]), images[order])
    _, _, weight = stream.Judging(source.files, np.zeros(9, np.int32), 9)[0]
    np.testing.assert_array_equal(weight, [1, 0, *[1] * 7])
    with pytest.raises(DataError, match=r"a/003\.jpg: expected an image"):
        source.files[:4]


def test_no_image_is_whole(damaged):
    folder, _ = damaged
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="expected an image that is not damaged; found none"):
        training(folder, skip=True)[0]


def test_another_size_is_never_skipped(damaged):
    folder, _ = damaged
    photos.write(folder, 3, suffix=".jpg", side=8)
    with pytest.raises(DataError, match=r"expected an image \(6, 6\) as the first, or a size; found \(8, 8\)"):
        training(folder, skip=True).files.read(range(9))


def test_a_folder_is_checked_to_the_last_file(damaged):
    folder, _ = damaged
    photos.write(folder / "train", 4)
    photos.write(folder / "val", 3, side=8)
    (folder / "val" / "b" / "001.png").write_bytes(b"text")
    heard = []
    report = check_folder(folder, 2, lambda done, total: heard.append((done, total)))
    assert report.whole == {"train": 4, "validation": 2}
    assert (report.classes, report.smallest, report.largest) == (3, (6, 6), (8, 8))
    assert heard == [(7, 7)]
    assert list(report.bad) == ["val/b/001.png"]
    assert "expected an image; found 4 bytes" in report.bad["val/b/001.png"]
