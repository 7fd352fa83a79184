"""IDX files: read as written, refused when they lie."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from jax231.data import idx
from jax231.data.errors import DataError

PATH = Path("somewhere/train-images-idx3-ubyte.gz")
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
LABELS = np.array([0, 2, 1, 2, 0], np.uint8)


def images_file(x=IMAGES):
    return struct.pack(">IIII", 2051, *x.shape) + x.tobytes()


def labels_file(y=LABELS):
    return struct.pack(">II", 2049, len(y)) + y.tobytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_written_is_read(pack):
    read = idx.images(PATH, pack(images_file()), 5, (4, 3))
    np.testing.assert_array_equal(read[..., 0], IMAGES)
    labels = idx.labels(PATH, pack(labels_file()), 5, 3)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected an IDX header of 16 bytes; found 0 bytes"),
        (labels_file(np.zeros(99, np.uint8)), r"magic number 2051 \(images\); found 2049 \(labels\)"),
        (b"\x89PNG" + images_file(), r"magic number 2051 \(images\); found \d+ \(no IDX file of bytes\)"),
        (images_file(IMAGES[:4]), r"axes \(5, 4, 3\) in the header; found \(4, 4, 3\)"),
        (images_file(IMAGES.transpose(0, 2, 1)), r"axes \(5, 4, 3\) in the header; found \(5, 3, 4\)"),
        (images_file()[:-1], r"expected 76 bytes .*; found 75 bytes"),
        (images_file() + b"\0", r"expected 76 bytes .*; found 77 bytes"),
        (gzip.compress(images_file(), mtime=0)[:-9], r"a whole gzip stream; found \d+ bytes \(Compressed file ended"),
        (gzip.compress(images_file(), mtime=0)[:40], r"expected a whole gzip stream"),
    ],
    ids=["empty", "labels", "png", "count", "shape", "short", "long", "gzip-end", "gzip-start"],
)
def test_images_that_lie(content, message):
    with pytest.raises(DataError, match=r"^somewhere/train-images-idx3-ubyte.gz: expected .*") as caught:
        idx.images(PATH, content, 5, (4, 3))
    assert caught.match(message)


def test_a_flipped_byte_of_gzip_is_seen():
    content = bytearray(gzip.compress(images_file()))
    content[-6] ^= 1  # in the checksum
    with pytest.raises(DataError, match=r"expected a whole gzip stream; found .*CRC"):
        idx.images(PATH, bytes(content), 5, (4, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (images_file(), r"magic number 2049 \(labels\); found 2051 \(images\)"),
        (labels_file(LABELS[:3]), r"axes \(5,\) in the header; found \(3,\)"),
        (labels_file()[:-2], r"expected 13 bytes .*; found 11 bytes"),
        (labels_file(LABELS + 1), r"labels within \[0, 3\); found 2 outside, the first \[3\] at position \[1\]"),
    ],
    ids=["images", "count", "short", "outside"],
)
def test_labels_that_lie(content, message):
    with pytest.raises(DataError, match=message):
        idx.labels(PATH, content, 5, 3)
