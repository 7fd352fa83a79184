"""Every recipe, as far as the shapes of one step: its data, model, optimizer and augmentations fit together."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.types import Batch
from jax231.data import preprocess, sources
from jax231.train import recipes, step
from jax231.train.splits import Splits

BATCH = 2
SHALLOW = {"resnet20": 8, "resnet56": 8, "plain56": 8, "densenet_bc_100_12": 10}
"""Depths at which deep networks have the same options and are quickly traced."""


def made(config):
    """Splits of the shapes of a recipe's data, with as many examples as its smallest batch."""
    if config.data == "tiny_shakespeare":
        codes = np.zeros(BATCH * config.length + 1, np.int32)
        return Splits("made", Batch(codes, None), None, None, (config.length,), ("a",) * 65, None, {})
    row = next(row for row in sources.listing() if row.name == config.data)
    shape, classes = tuple(row.shape), row.classes
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *shape), np.uint8)
    labels = np.zeros((BATCH, *(shape[:2] if row.kind == "masks" else ())), np.int32)
    stats = preprocess.fit(config.preprocess, images)
    return Splits("made", Batch(images, labels), None, None, shape, ("a",) * classes, stats, {})


@pytest.mark.parametrize("name", recipes.names())
def test_a_step_of_every_recipe_keeps_the_form_of_its_state(name):
    config = replace(recipes.load(name), batch=BATCH)
    if config.model in SHALLOW:
        config = replace(config, arguments={**config.arguments, "depth": SHALLOW[config.model]})
    task = step.assemble(config, made(config))
    state = jax.eval_shape(lambda: step.begin(config, task.network, task.feed.steps, BATCH))

    def first_step(state, data):
        first = jnp.int32(0)
        return step.make_step(task)(state, task.feed.take(data, task.feed.plan(data, first, first), first))

    after, metrics = jax.eval_shape(first_step, state, task.feed.data)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert metrics.loss.shape == ()
