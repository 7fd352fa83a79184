"""Recurrent modules are their functions; their first weights and carries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.functional import recurrent
from jax231.functional.dropout import dropout
from jax231.nn.bridge import arrays
from jax231.nn.noise import Dropout
from jax231.nn.recurrent import LSTM, RNN, Embedding, Stack

D, H = 3, 4
XS = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, D)), jnp.float32)
MASK = np.arange(5) < np.array([[5], [3]])
FUNCTIONS = {RNN: recurrent.rnn, LSTM: recurrent.lstm}
STACKS = {RNN: recurrent.stacked_rnn, LSTM: recurrent.stacked_lstm}

each_kind = pytest.mark.parametrize("kind", [RNN, LSTM])


def equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@each_kind
def test_layers_are_their_functions(kind):
    layer, gates = kind(D, H, rngs=nnx.Rngs(0)), kind.gates
    params, state = arrays(layer)
    assert jax.tree.map(jnp.shape, params) == {"wx": (D, gates * H), "wh": (H, gates * H), "b": (gates * H,)}
    carry = jax.tree.map(jnp.ones_like, layer.zero_carry(2))
    assert (state, jax.tree.map(jnp.shape, carry)) == ({}, (2, H) if kind is RNN else ((2, H), (2, H)))
    expected = FUNCTIONS[kind](params, carry, XS, mask=MASK)
    found = layer(carry, XS, mask=MASK)
    equal(found, expected)
    assert layer.macs((carry, XS), found) == 2 * 5 * gates * (D * H + H * H)


@each_kind
def test_segments_are_passed_on(kind):
    for every in (None, 2):
        layer = kind(D, H, checkpoint_every=every, rngs=nnx.Rngs(0))
        assert ("remat" in str(jax.make_jaxpr(layer)(layer.zero_carry(2), XS))) == (every is not None)


@each_kind
def test_first_weights(kind):
    layer = kind(D, H, rngs=nnx.Rngs(0))
    for block in jnp.split(layer.wh[...], kind.gates, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(H), atol=1e-5)
    expected = np.zeros(kind.gates * H)
    if kind is LSTM:
        expected[H : 2 * H] = 1.0
    np.testing.assert_array_equal(layer.b[...], expected)


def test_a_stack_feeds_outputs_upwards_and_thins_them_there_only():
    rngs = nnx.Rngs(0)
    stack = Stack([RNN(D, H, rngs=rngs), RNN(H, H, rngs=rngs)], [Dropout(0.5, rngs=rngs), Dropout(0.25, rngs=rngs)])
    below, above = stack.layers
    keys = [layer.key() for layer in nnx.clone(stack).dropouts]
    carries = stack.zero_carry(2)
    new, top = stack(carries, XS, mask=MASK)
    first, hs = below(carries[0], XS, mask=MASK)
    second, ys = above(carries[1], dropout(keys[0], hs, jnp.float32(0.5)), mask=MASK)
    equal((new, top), ((first, second), dropout(keys[1], ys, jnp.float32(0.25))))


@each_kind
def test_a_stack_without_dropout_is_the_function(kind):
    rngs = nnx.Rngs(0)
    stack = Stack([kind(D, H, rngs=rngs), kind(H, H, rngs=rngs)])
    layers = [layer.weights for layer in stack.layers]
    assert set(arrays(stack)[0]["layers"]) == {"00", "01"}
    carries = stack.zero_carry(2)
    equal(stack(carries, XS), STACKS[kind](layers, carries, XS))


def test_embedding_is_the_function():
    layer, tokens = Embedding(5, D, rngs=nnx.Rngs(0)), np.array([[1, 4], [0, 1]])
    assert jax.tree.map(jnp.shape, arrays(layer)) == ({"table": (5, D)}, {})
    np.testing.assert_array_equal(layer(tokens), np.asarray(layer.table[...])[tokens])


def test_stacks_that_do_not_fit_are_refused():
    rngs = nnx.Rngs(0)
    layers = [RNN(D, H, rngs=rngs), RNN(H, H, rngs=rngs)]
    with pytest.raises(ValueError, match="Stack: expected at least one layer; got layers=0"):
        Stack([])
    with pytest.raises(ValueError, match="Stack: expected no dropouts, or one a layer; got layers=2, dropouts=1"):
        Stack(layers, [Dropout(0.5, rngs=rngs)])
    with pytest.raises(ValueError, match="Stack: expected one carry a layer; got layers=2, carries=1"):
        Stack(layers)([jnp.zeros((2, H))], XS)


@pytest.mark.usefixtures("unchecked")
def test_other_sequences_and_carries_are_refused():
    layer = RNN(D, H, rngs=nnx.Rngs(0))
    zero = layer.zero_carry(2)
    with pytest.raises(ValueError, match=r"rnn: expected xs with 3 axes \(n t d\); got xs=\(2, 3\)"):
        layer(zero, XS[:, 0])
    with pytest.raises(ValueError, match=r"rnn: expected wx \(d, h\), .*; got wx=\(3, 4\), .* x=\(2, 5, 2\)"):
        layer(zero, XS[..., :2])
    with pytest.raises(ValueError, match=r"rnn: expected h0 of shape \(2, 4\), one state a sequence; got h0=\(3, 4\)"):
        layer(jnp.zeros((3, H)), XS)
    with pytest.raises(ValueError, match=r"embedding: expected tokens within \[0, 5\); got smallest=7"):
        Embedding(5, D, rngs=nnx.Rngs(0))(np.array([7]))
