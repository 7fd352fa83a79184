"""Slopes of scores by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.types import Model
from jax231.models.saliency import saliency

KERNEL = np.random.default_rng(0).normal(size=(2 * 3 * 2, 4)).astype(np.float32)
IMAGES = jnp.asarray(np.random.default_rng(1).normal(size=(5, 2, 3, 2)), jnp.float32)
LABELS = jnp.array([0, 3, 1, 1, 2])


def linear(params, state, inputs, *, train, **_):
    return inputs.reshape(len(inputs), -1) @ params, state


MODEL = Model(lambda key: (KERNEL, {}), linear)


def test_of_a_linear_model_it_is_the_size_of_the_weights():
    found = saliency(MODEL, jnp.asarray(KERNEL), {}, IMAGES, LABELS)
    np.testing.assert_allclose(found, np.abs(KERNEL.T[LABELS]).reshape(5, 2, 3, 2).max(-1), rtol=1e-6)


def test_without_labels_the_largest_score_is_explained():
    labels = jnp.argmax(linear(KERNEL, {}, IMAGES, train=False)[0], -1)
    with_labels = saliency(MODEL, jnp.asarray(KERNEL), {}, IMAGES, labels)
    np.testing.assert_allclose(jax.jit(lambda x: saliency(MODEL, jnp.asarray(KERNEL), {}, x))(IMAGES), with_labels)


def test_it_is_the_difference_of_scores_over_a_small_step(x64):
    def curved(params, state, inputs, *, train, **_):
        return jnp.tanh(inputs.reshape(len(inputs), -1) @ params), state

    model, image = Model(MODEL.init, curved), np.asarray(IMAGES[:1], np.float64)
    found = saliency(model, jnp.asarray(KERNEL, float), {}, jnp.asarray(image), LABELS[:1])
    steps = 1e-6 * np.eye(image.size).reshape(-1, *image.shape[1:])
    score = [curved(KERNEL.astype(float), {}, image + sign * steps, train=False)[0][:, LABELS[0]] for sign in (1, -1)]
    slopes = np.abs((score[0] - score[1]) / 2e-6).reshape(image.shape[1:]).max(-1)
    np.testing.assert_allclose(found[0], slopes, rtol=1e-7)


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"saliency: expected images \(n, h, w, c\)"):
        saliency(MODEL, KERNEL, {}, IMAGES[0])
    with pytest.raises(ValueError, match="one integer label an image"):
        saliency(MODEL, KERNEL, {}, IMAGES, LABELS[:2])
