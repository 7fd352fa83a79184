"""The PNG files that are written without another library."""

import base64
import io

import numpy as np
import pytest

from jax231.report.png import data_uri, png

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 3)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_another_reader_finds_the_same_pixels(channels):
    image = pytest.importorskip("PIL.Image")
    pixels = PIXELS[..., :channels]
    with image.open(io.BytesIO(png(pixels))) as read:
        read.verify()  # checksums
    with image.open(io.BytesIO(png(pixels))) as read:
        np.testing.assert_array_equal(np.asarray(read).reshape(pixels.shape), pixels)


def test_floats_are_shares_of_white_and_an_address_holds_the_file():
    assert png(PIXELS / 255) == png(PIXELS)
    assert png(np.array([[[-1.0], [2.0]]])) == png(np.array([[[0], [255]]], np.uint8))
    kind, content = data_uri(PIXELS).split(",")
    assert (kind, base64.b64decode(content)) == ("data:image/png;base64", png(PIXELS))


def test_what_is_no_image():
    for pixels in (PIXELS[..., :2], PIXELS[0], PIXELS[:0]):
        with pytest.raises(ValueError, match=r"png: expected an image \(h, w, 1 or 3\)"):
            png(pixels)
    with pytest.raises(ValueError, match=r"uint8 or floating pixels; got .*dtype='int64'"):
        png(PIXELS.astype(np.int64))
