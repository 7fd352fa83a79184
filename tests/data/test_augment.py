"""Augmentations against their definitions in NumPy, and the laws that they keep."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.data import augment
from jax231.data.augment import AUGMENTATIONS, pipeline
from jax231.train.config import AugmentName

KEY = jax.random.key(0)
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3)), jnp.uint8)


@pytest.fixture(scope="module")
def changed():
    """What every augmentation makes of the images, compiled once."""
    return {name: np.asarray(jax.jit(change)(KEY, IMAGES)) for name, change in AUGMENTATIONS.items()}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_and_type_stay_and_images_differ(changed, name):
    assert changed[name].shape == IMAGES.shape
    assert changed[name].dtype == np.uint8
    assert (changed[name] != np.asarray(IMAGES)).any()


def test_the_command_line_knows_all_names():
    assert get_args(AugmentName) == tuple(AUGMENTATIONS)


def test_an_image_is_flipped_or_not(changed):
    images = np.asarray(IMAGES)
    mirrored = [
        0 if (new == old).all() else 1 if (new == old[:, ::-1]).all() else None
        for new, old in zip(changed["flip"], images, strict=True)
    ]
    assert set(mirrored) == {0, 1}


def test_a_crop_is_a_window_of_the_padded_image(changed):
    wide = np.pad(np.asarray(IMAGES), ((0, 0), (2, 2), (2, 2), (0, 0)))
    for new, image in zip(changed["pad_crop"], wide, strict=True):
        windows = [image[i : i + 16, j : j + 16] for i in range(5) for j in range(5)]
        assert any((new == window).all() for window in windows)
    same = augment.pad_crop(KEY, IMAGES, pad=0)
    np.testing.assert_array_equal(same, IMAGES)


def test_a_crop_of_the_whole_image_is_the_image():
    same = augment.resized_crop(KEY, IMAGES, areas=(1.0, 1.0), ratios=(1.0, 1.0))
    np.testing.assert_allclose(np.asarray(same, int), np.asarray(IMAGES, int), atol=1)
    np.testing.assert_allclose(augment.scale_jitter(KEY, IMAGES, largest=1.0), IMAGES, atol=1)


def test_a_zoomed_ramp_is_a_part_of_the_ramp():
    """Linear interpolation keeps straight lines; a part of half the area has a slope of 1 / sqrt(2)."""
    ramp = jnp.broadcast_to(jnp.arange(0.0, 160.0, 10.0)[None, :, None, None], (4, 16, 16, 1))
    half = np.asarray(augment.resized_crop(KEY, ramp, areas=(0.5, 0.5), ratios=(1.0, 1.0)))[:, 2:-2, 8, 0]
    np.testing.assert_allclose(np.diff(half, axis=1), 10 / np.sqrt(2), rtol=1e-3)
    assert half.min() >= 0
    assert half.max() <= 150


def test_colours_by_the_definition():
    """Of one factor at a time; the other numbers are 0."""
    x = np.asarray(IMAGES, np.float32) / 4 + 90
    drawn = np.asarray(jax.random.uniform(KEY, (4, len(x), 1, 1, 1), minval=-1.0, maxval=1.0))
    grey = x @ augment.GREY
    nothing = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    mean = grey.mean((1, 2))[:, None, None, None]
    expected = {
        "brightness": x * (1 + 0.3 * drawn[0]),
        "contrast": mean + (x - mean) * (1 + 0.3 * drawn[1]),
        "saturation": grey[..., None] + (x - grey[..., None]) * (1 + 0.3 * drawn[2]),
    }
    for name, wanted in expected.items():
        found = augment.color_jitter(KEY, jnp.asarray(x), **{**nothing, name: 0.3})
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-2)
    turned = np.asarray(augment.color_jitter(KEY, jnp.asarray(x), **{**nothing, "hue": 0.2}))
    np.testing.assert_allclose(turned @ augment.GREY, grey, rtol=1e-3)
    before, after = (np.linalg.norm((y @ augment.YIQ.T)[..., 1:], axis=-1) for y in (x, turned))
    np.testing.assert_allclose(after, before, rtol=2e-2, atol=0.2)


def test_lighting_adds_one_colour_to_an_image():
    difference = np.asarray(augment.lighting(KEY, IMAGES / 4 + 90.0) - (IMAGES / 4 + 90.0))
    np.testing.assert_allclose(difference, np.broadcast_to(difference[:, :1, :1], difference.shape), atol=1e-4)
    np.testing.assert_allclose(augment.DIRECTIONS.T @ augment.DIRECTIONS, np.eye(3), atol=2e-3)


def test_cutout_covers_a_square(changed):
    covered = (changed["cutout"] != np.asarray(IMAGES)).any(-1)
    for hole in covered:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert 4 <= len(rows) <= 8
        assert 4 <= len(columns) <= 8
        assert np.ptp(rows) < 8
        assert np.ptp(columns) < 8


def test_mixup_keeps_the_sum_of_targets():
    images, targets = IMAGES.astype(jnp.float32), jax.nn.one_hot(jnp.arange(12) % 3, 3)
    mixed, shares = augment.mixup(KEY, images, targets, 0.4)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(mixed.mean(0), images.mean(0), rtol=1e-3)
    assert ((shares > 0) & (shares < 1)).any()


def test_a_pipeline_hands_every_step_a_key_of_its_own():
    keys = jax.random.split(KEY, 2)
    found = pipeline(("flip", "pad_crop"))(KEY, IMAGES)
    np.testing.assert_array_equal(found, augment.pad_crop(keys[1], augment.flip(keys[0], IMAGES)))
    np.testing.assert_array_equal(pipeline(())(KEY, IMAGES), IMAGES)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"nearest: flip.*name='flipp'"):
        pipeline(("flipp",))
    with pytest.raises(ValueError, match=r"lighting: expected three channels; got images=\(12, 16, 16, 1\)"):
        augment.lighting(KEY, IMAGES[..., :1])
    with pytest.raises(ValueError, match="one or three channels"):
        augment.color_jitter(KEY, IMAGES[..., :2])
    with pytest.raises(ValueError, match="areas within"):
        augment.resized_crop(KEY, IMAGES, areas=(0.0, 1.0))
    with pytest.raises(ValueError, match="a largest scale of at least 1"):
        augment.scale_jitter(KEY, IMAGES, largest=0.5)


def test_masks_move_as_their_pixels_do():
    """A mask that says of every pixel what the image says stays so; black is class 0."""
    masks = IMAGES[..., 0].astype(jnp.int32)
    change = augment.masked_pipeline(["flip", "pad_crop"])
    images, moved = jax.jit(change)(KEY, IMAGES, masks)
    np.testing.assert_array_equal(moved, images[..., 0])
    assert moved.dtype == jnp.int32
    np.testing.assert_array_equal(images, jax.jit(pipeline(["flip", "pad_crop"]))(KEY, IMAGES))
    images, same = jax.jit(augment.masked_pipeline(["lighting"]))(KEY, IMAGES, masks)
    np.testing.assert_array_equal(same, masks)
    assert (images != IMAGES).any()


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {*augment.MOVING, *augment.COLORING}))
def test_augmentations_that_masks_cannot_follow_are_refused(name):
    with pytest.raises(ValueError, match=rf"expected augmentations that masks follow \(flip, pad_crop,.*'{name}'"):
        augment.masked_pipeline(["flip", name])
    with pytest.raises(ValueError, match="nearest: flip"):
        augment.masked_pipeline(["flp"])
