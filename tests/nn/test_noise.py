"""Random layers: what they drop, when, and where their rates and keys come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.functional.dropout import drop_path, dropout, stochastic_depth
from jax231.nn.bridge import arrays
from jax231.nn.noise import Dropout, DropPath, StochasticDepth, hand_out, noisy, streams
from jax231.nn.sequential import Sequential

X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3, 2)), jnp.float32)


@pytest.mark.parametrize(
    ("layer", "function"), [(Dropout, dropout), (DropPath, drop_path), (StochasticDepth, stochastic_depth)]
)
def test_layers_are_their_functions_in_training_and_drop_nothing_in_evaluation(layer, function):
    layer = layer(0.5, share=0.6, rngs=nnx.Rngs(0))
    given = (X, 2 * X) if function is stochastic_depth else (X,)
    assert arrays(layer) == ({}, {})
    first = nnx.clone(layer).key()
    np.testing.assert_array_equal(layer(*given), function(first, *given, jnp.float32(0.6) * jnp.float32(0.5)))
    draws = [layer(*given) for _ in range(8)]
    assert any((draw != draws[0]).any() for draw in draws), "a mask for each call"
    layer.eval()
    np.testing.assert_array_equal(layer(*given), sum(given))


def net(rngs):
    """Two layers of one kind, of which one takes half the rate, and one of a kind of its own."""
    return Sequential(
        [Dropout(0.4, rngs=rngs), Sequential([Dropout(0.2, share=0.5, rngs=rngs)]), Dropout(0.1, kind="in", rngs=rngs)]
    )


def test_rates_go_by_kind_and_defaults_are_kept():
    model = net(nnx.Rngs(0))
    chances = lambda: {layer.default: float(layer.chance()) for layer in noisy(model)}  # noqa: E731
    hand_out(model, None, {"dropout": 0.8})
    assert chances() == pytest.approx({0.4: 0.8, 0.2: 0.4, 0.1: 0.1})
    hand_out(model, None, {"in": 1.0})
    assert chances() == pytest.approx({0.4: 0.4, 0.2: 0.1, 0.1: 1.0})


def test_each_layer_has_a_key_of_its_own_that_follows_from_the_one_that_is_given():
    model, keys = net(nnx.Rngs(0)), []
    for seed in (7, 7, 8):
        hand_out(model, jax.random.key(seed), {})
        keys.append([tuple(jax.random.key_data(layer.key()).tolist()) for layer in noisy(model)])
    assert keys[0] == keys[1]
    assert len({*keys[0], *keys[2]}) == 6
    assert len(streams(model)) == 3


@pytest.mark.parametrize("layer", [Dropout, DropPath, StochasticDepth])
@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_rates_outside_of_their_range_are_refused_at_once(layer, rate):
    with pytest.raises(ValueError, match=rf"{layer.__name__}: expected rate within \[0, 1\]; got rate={rate}"):
        layer(rate, rngs=nnx.Rngs(0))


def test_shares_outside_of_their_range_are_refused():
    with pytest.raises(ValueError, match=r"Dropout: expected share \* rate within \[0, 1\]; got share \* rate=1.5"):
        Dropout(0.5, share=3.0, rngs=nnx.Rngs(0))
    layer = Dropout(0.25, share=2.0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"apply: expected 2.0 \* dropout within \[0, 1\]; got 2.0 \* dropout=1.5"):
        hand_out(layer, None, {"dropout": 0.75})


@pytest.mark.usefixtures("unchecked")
def test_a_residual_of_another_shape_is_refused_in_either_mode():
    layer = StochasticDepth(0.5, rngs=nnx.Rngs(0))
    for mode in (layer.train, layer.eval):
        mode()
        with pytest.raises(ValueError, match=r"StochasticDepth: expected x and residual of one shape; got x=.*8, 1, 2"):
            layer(X, X[:, :1])
