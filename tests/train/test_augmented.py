"""Runs on augmented and mixed images, and the recipes."""

import numpy as np
import pytest

from jax231.train import recipes
from jax231.train.loop import train
from jax231.train.run import open_run
from jax231.train.sample import sample
from tests import runs
from tests.train.test_loop import assert_same_bits


def test_augmented_batches_come_again_after_a_stop(tmp_path):
    """Two epochs and one more, against three."""
    config = runs.config(augment=("flip", "pad_crop", "cutout"), mixup=0.4, epochs=2)
    splits = runs.images()
    whole = train(config, tmp_path / "whole", splits=splits, chunk=2)
    parts = train(config, tmp_path / "parts", splits=splits, chunk=5)
    assert_same_bits(whole.train, parts.train)
    plain = train(runs.config(epochs=2), tmp_path / "plain", splits=splits, chunk=5)
    assert not np.array_equal(plain.train.losses, whole.train.losses)


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_can_be_read(name):
    config = recipes.load(name)
    assert config.epochs >= 1
    assert len(recipes.about(name)) > 20


def test_an_unknown_recipe():
    with pytest.raises(ValueError, match=r"nearest: mnist-convnet.*name='mnist-convnt'"):
        recipes.load("mnist-convnt")


def test_sampled_text_is_drawn_from_the_model(tmp_path):
    config = runs.config(model="char_rnn", arguments={"hidden": 16}, length=6, epochs=1)
    train(config, tmp_path / "run", splits=runs.text(), chunk=5)
    run = open_run(tmp_path / "run")
    text = sample(run, length=20, prompt="to ", seed=1)
    assert text.startswith("to ")
    assert len(text) == 23
    assert sample(run, length=20, prompt="to ", seed=1) == text
    assert sample(run, length=20, prompt="to ", seed=2) != text
    greedy = sample(run, length=20, prompt="to ", temperature=0.0)
    assert greedy == sample(run, length=20, prompt="to ", temperature=0.0, seed=5)
    with pytest.raises(ValueError, match=r"a prompt of characters of the text; got .*unknown=\['X'\]"):
        sample(run, prompt="X")
    with pytest.raises(ValueError, match="a finite temperature of at least 0"):
        sample(run, temperature=-1.0)
