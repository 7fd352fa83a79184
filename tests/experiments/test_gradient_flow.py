"""The experiment's perceptrons: what the first values do to the size of activations."""

import jax
import jax.numpy as jnp
import pytest

pytest.importorskip("matplotlib")
import gradient_flow

from jax231.core.types import Batch


def test_small_weights_let_activations_die_and_he_keeps_them(monkeypatch):
    drawn = {name: gradient_flow.DRAWN[name] for name in ("gaussian 0.01, tanh", "he, relu")}
    monkeypatch.setattr(gradient_flow, "DRAWN", drawn)
    batch = Batch(jax.random.normal(jax.random.key(0), (8, 4, 4, 3)), jnp.arange(8))
    spread, slopes = gradient_flow.initialization(batch, 3)
    dying, kept = spread.lines.values()
    assert len(dying) == len(kept) == len(slopes.lines["he, relu"]) == 4
    assert dying[-1] < 0.1 * dying[0]
    assert 0.3 < kept[2] / kept[0] < 3
