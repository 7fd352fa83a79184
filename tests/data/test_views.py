"""Views of images against their definitions in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.data import views

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 2)).astype(np.uint8)


def ten_crop_by_loop(images: np.ndarray, h: int, w: int) -> list[np.ndarray]:
    height, width = images.shape[1:3]
    found = []
    for mirror in (False, True):
        for top, left in ((0, 0), (0, width - w), (height - h, 0), (height - h, width - w),
                          ((height - h) // 2, (width - w) // 2)):  # fmt: skip
            crop = np.zeros((len(images), h, w, images.shape[3]), images.dtype)
            for row in range(h):
                for column in range(w):
                    source = left + (w - 1 - column if mirror else column)
                    crop[:, row, column] = images[:, top + row, source]
            found.append(crop)
    return found


@pytest.mark.parametrize("size", [(8, 6), (5, 4), (1, 1)])
def test_ten_crop_is_its_definition(size):
    for found, expected in zip(views.ten_crop(jnp.asarray(IMAGES), size), ten_crop_by_loop(IMAGES, *size), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_crops_of_an_image_with_zeros_around_it():
    wide = np.zeros((3, 12, 10, 2), np.uint8)
    wide[:, 2:-2, 2:-2] = IMAGES
    expected = ten_crop_by_loop(wide, 8, 6)
    for name, count in (("ten_crop", 10), ("five_crop", 5)):
        found = views.named(name, margin=2)(jnp.asarray(IMAGES))
        np.testing.assert_array_equal(np.stack(found), expected[:count])
    np.testing.assert_array_equal(np.stack(views.named("flip")(jnp.asarray(IMAGES))), [IMAGES, IMAGES[:, :, ::-1]])


def doubled(row: np.ndarray) -> np.ndarray:
    """Twice as many pixels, linear between centres: each lies a quarter of a pixel beside an old one."""
    places = np.clip((np.arange(2 * len(row)) + 0.5) / 2 - 0.5, 0, len(row) - 1)
    return np.interp(places, np.arange(len(row)), row)


def test_scales_are_linear_between_pixels_and_centred():
    large = np.apply_along_axis(doubled, 1, np.apply_along_axis(doubled, 2, IMAGES.astype(np.float64)))
    once, twice, half = views.named("multi_scale", scales=(1.0, 2.0, 0.5), dense=True)(jnp.asarray(IMAGES))
    np.testing.assert_array_equal(once, IMAGES)
    np.testing.assert_allclose(twice, large, atol=0.5001)
    assert half.shape == (3, 4, 3, 2)
    _, middle, within = views.named("multi_scale", scales=(1.0, 2.0, 0.5))(jnp.asarray(IMAGES))
    np.testing.assert_array_equal(middle, twice[:, 4:12, 3:9])
    np.testing.assert_array_equal(within[:, 2:6, 1:4], half)
    assert int(within.astype(int).sum()) == int(half.astype(int).sum())
    enlarged = views.named("five_crop", margin=1, canvas="enlarged")(jnp.asarray(IMAGES))
    np.testing.assert_array_equal(enlarged[4], views.resized(jnp.asarray(IMAGES), (10, 8))[:, 1:9, 1:7])


def test_floats_are_not_rounded():
    found = views.resized(jnp.asarray(IMAGES, jnp.float32) / 7, (9, 9))
    assert found.dtype == jnp.float32
    assert float(jnp.abs(found - jnp.round(found)).max()) > 0.1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: views.ten_crop(x, (9, 6)), r"crop: expected a size within the images' 8x6; got size=\(9, 6\)"),
        (lambda x: views.five_crop(x, (0, 6)), r"a size within"),
        (lambda x: views.named("ten_crop", margin=6)(x), r"padded: expected a margin within \[0, 6\); got margin=6"),
        (lambda x: views.named("ten_crop", margin=0)(x), r"a margin of at least 1"),
        (lambda x: views.named("multi_scale", scales=())(x), r"at least one scale, all above 0"),
        (lambda x: views.named("multi_scale", scales=(0.01,))(x), r"a size of at least 1x1; got size=\(0, 0\)"),
        (lambda x: views.named("tencrop")(x), r"nearest: ten_crop"),
    ],
)
def test_what_cannot_be_seen(call, said):
    with pytest.raises(ValueError, match=said):
        jax.eval_shape(call, jnp.asarray(IMAGES))
