"""What is cut out of an image file, and the reduced decoding of JPEG files."""

import numpy as np
import pytest

from jax231.data import decode, stream
from jax231.data.decode import Form, read_image

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def saved(path, shape):
    """A file of random pixels."""
    pixels = RNG.integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def smooth(path, height, width):
    """A JPEG file of slow waves, whose pixels survive the compression."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(x / a) * np.cos(y / b) for a, b in ((50, 40), (35, 70), (90, 30))]
    Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save(path, quality=98)


def test_the_centre(tmp_path):
    """Of 80 pixels a side 8/7 as many as the 70 that are asked for, so none is mixed with another."""
    pixels = saved(tmp_path / "a.png", (80, 100, 3))
    assert read_image(tmp_path / "a.png", Form((70, 70), 3, "center")).tobytes() == pixels[5:75, 15:85].tobytes()
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", Form((70, 70), 3, "random")), pixels[5:75, 15:85])
    wide = saved(tmp_path / "b.png", (80, 160, 3))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png", Form((70, 140), 3, "center")), wide[5:75, 10:150])


def test_random_parts_keep_their_ranges():
    """Share of the area, ratio of sides, and inside the image, also where that is narrow."""
    for index in range(200):
        left, upper, right, lower = decode._box(300, 200, (8, 8), "random", stream.draws(0, 1, index))
        across, down = right - left, lower - upper
        assert 0 <= left < right <= 300
        assert 0 <= upper < lower <= 200
        assert across * down <= 300 * 200 * (1 + 1e-12)
        uncut = across < 300 and down < 200
        assert not uncut or 0.08 <= across * down / 60_000 <= 1
        assert not uncut or 0.75 - 1e-12 <= across / down <= 4 / 3 + 1e-12
    whole = decode._box(300, 200, (8, 8), "random", np.array([1.0, np.log(1.5 / 0.75) / np.log(16 / 9), 0.3, 0.6]))
    np.testing.assert_allclose(whole, (0, 0, 300, 200), atol=60)


@pytest.mark.parametrize("crop", ["none", "center", "random"])
def test_a_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path, crop):
    """The same part of the image as without, to a rounding of pixels."""
    smooth(tmp_path / "a.jpg", 405, 603)
    drawn = np.array([0.9, 0.4, 0.2, 0.7])
    form = Form((24, 24), 3, crop)
    with Image.open(tmp_path / "a.jpg") as image:
        box = decode._box(603, 405, (24, 24), crop, drawn)
        expected = np.asarray(image.resize((24, 24), Image.Resampling.BILINEAR, box), int)
        image.close()
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.draft(None, decode._least(603, 405, box, (24, 24))) is not None
        assert image.size[0] <= 302
    found = read_image(tmp_path / "a.jpg", form, drawn).astype(int)
    assert np.abs(found - expected).mean() < 1
    assert np.abs(found - expected).max() <= 6


def test_what_the_system_refuses_is_not_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "gone.png", Form())
