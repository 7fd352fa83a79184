"""The table itself, and what the models of the comparison keep."""

import functools
import subprocess
import sys
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.compare import problems
from jax231.compare.config import ProblemName
from jax231.core import tree
from jax231.core.unoptimized import jit_unoptimized
from jax231.curvature.products import hvp
from jax231.models import zoo
from tests.derivatives import relative_error

SHAPE, CLASSES, N = (8, 8, 1), 10, 12
every_entry = pytest.mark.parametrize(
    "entry", [zoo.entry(name) for name in problems.NAMES], ids=lambda entry: entry.name
)


@functools.cache
def setting(name):
    """The model, and its mean loss on one batch of images and labels."""
    entry = zoo.entry(name)
    model, rng = entry.build(SHAPE, CLASSES), np.random.default_rng(0)
    x, labels = jnp.asarray(rng.normal(size=(N, *SHAPE)), jnp.float32), jnp.arange(N) % CLASSES

    def loss(params):
        inputs = x.astype(jax.tree.leaves(params)[0].dtype)
        return jnp.mean(entry.loss_function(model.apply(params, {}, inputs, train=True)[0], labels))

    return model, jax.jit(loss)


def test_names_are_those_that_a_comparison_takes():
    assert get_args(ProblemName) == problems.NAMES
    assert set(problems.NAMES) < set(zoo.NAMES)
    assert len(set(zoo.NAMES)) == len(zoo.NAMES)


def test_unknown_names_get_the_nearest():
    with pytest.raises(ValueError, match=r"models: expected a name of the zoo; got 'lenett' \(nearest: lenet"):
        zoo.entry("lenett")


def test_a_model_of_no_class_is_refused():
    with pytest.raises(ValueError, match=r"models\.lenet: expected at least one class; got classes=0"):
        zoo.entry("lenet").build((28, 28, 1), 0)


def test_reading_the_table_imports_no_jax():
    code = "import sys; from jax231.models.zoo import ENTRIES; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@every_entry
@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (28, 28, 1)])
def test_images_become_scores(entry, shape):
    model = entry.build(shape, 7)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    inputs = jax.ShapeDtypeStruct((5, *shape), jnp.float32)
    scores, new = jax.eval_shape(lambda p, s, x: model.apply(p, s, x, train=False), params, state, inputs)
    assert (scores.shape, scores.dtype) == ((5, 7), jnp.float32)
    assert new == state


@every_entry
def test_the_loss_starts_where_it_is_said_to(entry):
    model, loss = setting(entry.name)
    init = jax.jit(lambda key: model.init(key)[0])
    starts = [init(key) for key in jax.random.split(jax.random.key(0), 5)]
    expected = entry.expected_start(CLASSES)
    np.testing.assert_allclose(loss(tree.zeros_like(starts[0])), expected, rtol=1e-6)
    assert abs(np.mean([loss(start) for start in starts]) / expected - 1) < 0.3


@every_entry
def test_one_batch_is_learned_by_heart_and_every_parameter_learns(entry):
    model, loss = setting(entry.name)
    tx = optax.adam(0.02)

    @jax.jit
    def step(params, opt, largest):
        grads = jax.grad(loss)(params)
        updates, opt = tx.update(grads, opt, params)
        largest = jax.tree.map(lambda g, most: jnp.maximum(jnp.abs(g).max(), most), grads, largest)
        return optax.apply_updates(params, updates), opt, largest

    end, _ = jit_unoptimized(model.init)(jax.random.key(0))
    opt, largest = tx.init(end), jax.tree.map(lambda _: jnp.zeros(()), end)
    for _ in range(150):
        end, opt, largest = step(end, opt, largest)
    assert loss(end) < 0.02 * entry.expected_start(CLASSES)
    assert all(g > 0 for g in jax.tree.leaves(largest))


@every_entry
def test_hessian_vector_products(entry, x64):
    model, loss = setting(entry.name)
    params = jax.tree.map(lambda x: x.astype(float), jit_unoptimized(model.init)(jax.random.key(1))[0])
    flat, unravel = tree.ravel(params)
    direction = jnp.sin(jnp.arange(flat.size) + 1.0) / flat.size**0.5

    product = jax.jit(lambda p, v: hvp(loss, p, v))(unravel(flat), unravel(direction))
    gradient = jax.jit(lambda x: jax.grad(lambda x: loss(unravel(x)))(x))
    step = 1e-5
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}  # centred differences of fourth order
    by_differences = sum(w * gradient(flat + k * step * direction) for k, w in weights.items()) / step
    assert relative_error(tree.ravel(product)[0], by_differences) <= 1e-7
