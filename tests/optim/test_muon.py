import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.optim.muon import muon
from jax231.optim.nadam import nadam

SHAPES = {"conv": {"kernel": (3, 3, 2, 4), "bias": (4,)}, "tall": (6, 2), "head": (4, 3)}


def gradients(steps=4):
    rng = np.random.default_rng(5)
    return jax.tree.map(lambda shape: rng.normal(size=(steps, *shape)), SHAPES, is_leaf=lambda x: isinstance(x, tuple))


def newton_schulz(matrix, iterations=5):
    x = matrix / (np.linalg.norm(matrix) + 1e-8)
    for _ in range(iterations):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def muon_loop(x, grads, rate, decay=0.95, weight_decay=0.0):
    """One matrix; the polar factor of a tall one is that of its transpose, transposed."""
    m = 0
    for t, g in enumerate(grads, 1):
        m = decay * m + (1 - decay) * g
        ahead = decay * m / (1 - decay ** (t + 1)) + (1 - decay) * g / (1 - decay**t)
        polar = newton_schulz(ahead) if ahead.shape[0] <= ahead.shape[1] else newton_schulz(ahead.T).T
        x = x - rate * (0.2 * np.sqrt(max(x.shape)) * polar + weight_decay * x)
        yield x


def last(tx, params, grads):
    def step(carry, g):
        x, state = carry
        updates, state = tx.update(g, state, x)
        return (jax.tree.map(jnp.add, x, updates), state), None

    return jax.jit(lambda p, g: jax.lax.scan(step, (p, tx.init(p)), g)[0][0])(params, grads)


@pytest.mark.usefixtures("x64")
def test_matrices_follow_the_definition_and_the_rest_nadam():
    grads = gradients()
    params = jax.tree.map(lambda g: np.ones(g.shape[1:]), grads)
    tx = muon(0.1, adam_rate=0.03, weight_decay=0.01, matrices=lambda name: name != "head")
    found = last(tx, params, grads)

    def expected(x, g):
        rows = (-1, x.shape[-1])
        *_, end = muon_loop(x.reshape(rows), [one.reshape(rows) for one in g], 0.1, weight_decay=0.01)
        return end.reshape(x.shape)

    others = last(
        nadam(0.03),
        {"b": params["conv"]["bias"], "h": params["head"]},
        {"b": grads["conv"]["bias"], "h": grads["head"]},
    )
    chex.assert_trees_all_close(
        found["conv"]["kernel"], expected(params["conv"]["kernel"], grads["conv"]["kernel"]), rtol=1e-10
    )
    chex.assert_trees_all_close(found["tall"], expected(params["tall"], grads["tall"]), rtol=1e-10)
    chex.assert_trees_all_close((found["conv"]["bias"], found["head"]), (others["b"], others["h"]), rtol=1e-10)


def test_a_step_has_the_size_of_one_of_adam():
    g = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    tx = muon(1.0)
    updates, _ = jax.jit(lambda g: tx.update(g, tx.init(g), g))(g)
    assert 0.15 < np.sqrt(np.mean(np.square(updates))) < 0.25


def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"muon: expected adam_rate above 0; got adam_rate=0.0"):
        muon(0.1, adam_rate=0.0)
    with pytest.raises(ValueError, match=r"muon: expected decay within \[0, 1\]; got decay=2.0"):
        muon(0.1, 2.0)
    with pytest.raises(ValueError, match="muon: expected at least one iteration; got iterations=0"):
        muon(0.1, iterations=0)
