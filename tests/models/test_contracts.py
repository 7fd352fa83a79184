"""What every model of the zoo must do: a new entry of the table is tested by being there.

The nets of the papers stop at `jax.eval_shape`; their small variants, of the same code, go all the way.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.core import tree
from jax231.core.unoptimized import jit_unoptimized
from jax231.models import zoo
from jax231.models.example import example
from jax231.nn.bridge import functionalize, rate_kinds, tapped_layers

LEARNERS = [entry for entry in zoo.ENTRIES if entry.loss]
SMALL = [entry for entry in LEARNERS if entry.small]

FIRST = {entry.architecture: entry for entry in reversed(SMALL)}
"""One entry an architecture: derivatives and taps of its variants are made of the same code."""

by_name = pytest.mark.parametrize("entry", SMALL, ids=lambda entry: entry.name)
by_architecture = pytest.mark.parametrize("entry", FIRST.values(), ids=lambda entry: entry.name)


class Case:
    """The small variant of an entry, with a batch of eight."""

    def __init__(self, entry: zoo.Entry):
        shape, classes, arguments = entry.small
        self.entry, self.classes = entry, classes
        self.constructor = entry.constructor(shape, classes, **arguments)
        self.model = functionalize(self.constructor)
        self.params, self.state = jit_unoptimized(self.model.init)(jax.random.key(0))
        self.batch = example(entry, shape, classes, 8, jax.random.key(1), arguments)

    def loss(self, params, *, train=True, state=None, key=None, rates=None):
        outputs, state = self.model.apply(
            params, self.state if state is None else state, self.batch.inputs, train=train,
            key=jax.random.key(2) if key is None else key, rates=rates or {},
        )  # fmt: skip
        return jnp.mean(self.entry.loss_function(outputs, self.batch.targets)), state


@functools.cache
def case_of(name: str) -> Case:
    """One case for all tests of an entry: to initialize a net takes half of a test's time."""
    return Case(zoo.entry(name))


@pytest.mark.parametrize("entry", LEARNERS, ids=lambda entry: entry.name)
def test_the_net_of_the_paper_has_scores_for_its_classes(entry):
    model = entry.build(entry.shape, entry.classes)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    batch = jax.eval_shape(lambda key: example(entry, entry.shape, entry.classes, 2, key), jax.random.key(0))
    outputs, after = jax.eval_shape(lambda p, s, x: model.apply(p, s, x, train=False), params, state, batch.inputs)
    scores = entry.scores(outputs)
    assert scores.shape == (*batch.targets.shape, entry.classes)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert all(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


@by_name
def test_a_small_net_keeps_the_contract(entry):
    """One test an entry, since most of its time is compilation."""
    case = case_of(entry.name)
    start, state = jax.jit(case.loss)(case.params)

    expected = entry.expected_start(case.classes)
    assert abs(start - expected) < 0.4 * expected, "start loss"
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), case.state)
    if jax.tree.leaves(state):
        assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (state, case.state)), strict=True))
    evaluated = jax.jit(lambda p, s, x: case.model.apply(p, s, x, train=False))(case.params, state, case.batch.inputs)
    assert entry.scores(evaluated[0]).shape == (*case.batch.targets.shape, case.classes)
    jax.tree.map(np.testing.assert_array_equal, evaluated[1], state)

    tx = optax.adam(1e-2)
    still = dict.fromkeys(rate_kinds(case.constructor), 0.0)

    @jax.jit
    def train(params, state):
        def step(carry, key):
            params, state, opt, reached = carry
            (value, state), grads = jax.value_and_grad(
                lambda p: case.loss(p, state=state, key=key, rates=still), has_aux=True
            )(params)
            updates, opt = tx.update(grads, opt, params)
            reached = jax.tree.map(lambda r, g: r | (g != 0).any(), reached, grads)
            return (optax.apply_updates(params, updates), state, opt, reached), value

        nowhere = jax.tree.map(lambda _: jnp.zeros((), bool), params)
        keys = jax.random.split(jax.random.key(3), 150)
        (params, *_, reached), values = jax.lax.scan(step, (params, state, tx.init(params), nowhere), keys)
        return values, reached

    values, reached = train(case.params, case.state)
    unreached = [name for name, r in zip(tree.names(reached), jax.tree.leaves(reached), strict=True) if not r]
    assert not unreached, "gradients reach every parameter"
    assert values[-1] < 0.25 * values[0], "one batch can be learned by heart"


@by_architecture
def test_derivatives_lanes_rates_and_narrow_types(entry):
    case = case_of(entry.name)
    rates = dict.fromkeys(rate_kinds(case.constructor), 0.1)

    @jax.jit
    def hvp(params, tangent, rates):
        return jax.jvp(jax.grad(lambda p: case.loss(p, rates=rates)[0]), (params,), (tangent,))[1]

    product = hvp(case.params, case.params, rates)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(product))
    hvp(case.params, case.params, dict.fromkeys(rates, 0.2))
    assert hvp._cache_size() == 1, "another rate compiles nothing"

    seeds = jax.random.split(jax.random.key(5), 2)

    def made(key):
        return case.loss(case.model.init(key)[0], train=False)[0]

    lanes, alone = jit_unoptimized(jax.vmap(made))(seeds), jit_unoptimized(made)(seeds[1])
    np.testing.assert_allclose(lanes[1], alone, rtol=2e-5)

    narrow = functionalize(case.constructor, dtype=jnp.bfloat16)
    apply = lambda model: jax.jit(lambda p, s, x: model.apply(p, s, x, train=False)[0])(  # noqa: E731
        case.params, case.state, case.batch.inputs
    )
    wide, cut = entry.scores(apply(case.model)), entry.scores(apply(narrow))
    assert cut.dtype == wide.dtype
    assert 0 < jnp.linalg.norm(cut - wide) <= 0.1 * jnp.linalg.norm(wide)


@by_architecture
def test_taps_give_the_gradients_of_pre_activations(entry):
    case = case_of(entry.name)
    layers = tapped_layers(case.constructor)
    assert layers

    def tapped(probes):
        outputs, seen = case.model.apply_tapped(case.params, probes, case.batch.inputs, state=case.state)
        return jnp.mean(case.entry.loss_function(outputs, case.batch.targets)), seen

    _, seen = jax.eval_shape(tapped, dict.fromkeys(layers, 0.0))
    assert set(seen) <= set(layers)
    biased = {name: params["bias"] for name in seen if "bias" in (params := tree_at(case.params, name))}
    gradients = jax.jit(jax.grad(lambda probes: tapped(probes)[0]))(jax.tree.map(jnp.zeros_like, biased))
    loss = lambda p: case.loss(p, train=False)[0]  # noqa: E731
    of_params = jax.jit(jax.grad(loss))(case.params)
    for name, gradient in gradients.items():
        bias = tree_at(of_params, name)["bias"]
        np.testing.assert_allclose(gradient, bias, rtol=1e-4, atol=1e-6)


def tree_at(params, name):
    for part in name.split("/"):
        params = params[part]
    return params
