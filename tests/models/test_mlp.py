import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional import activations
from jax231.functional.norm import batch_norm_train
from jax231.models.mlp import ACTIVATIONS, PIECES, mlp
from jax231.nn.bridge import functionalize, rate_kinds

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2, 3, 1)), jnp.float32)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_is_affine_maps_with_nonlinearities_between(activation, batch_norm):
    model = functionalize(mlp((2, 3, 1), 3, widths=(4, 4), activation=activation, batch_norm=batch_norm))
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes)
    units = 4 * PIECES if activation == "maxout" else 4
    state = {"mean": jnp.zeros(units), "var": jnp.ones(units)}
    states = {"hidden": {place: {"norm": state} for place in ("00", "01")}} if batch_norm else {}
    found, _ = model.apply(params, states, X, train=True)

    x = X.reshape(5, 6)
    for layer in (params["hidden"]["00"], params["hidden"]["01"]):
        x = x @ layer["affine"]["kernel"]
        if batch_norm:
            x, *_ = batch_norm_train(x, layer["norm"]["scale"], layer["norm"]["bias"], state["mean"], state["var"])
        else:
            x = x + layer["affine"]["bias"]
        options = {"prelu": lambda layer=layer: [layer["prelu"]["slope"]], "maxout": lambda: [PIECES]}
        x = getattr(activations, activation)(x, *options.get(activation, list)())
    expected = x @ params["scores"]["kernel"] + params["scores"]["bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_dropout_and_depth():
    assert rate_kinds(mlp((4,), 3, dropout=0.1)) == ("dropout",)
    assert rate_kinds(mlp((4,), 3)) == ()
    params, _ = jax.eval_shape(functionalize(mlp((4, 4, 1), 3, widths=())).init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == {"scores": {"kernel": (16, 3), "bias": (3,)}}
    params, _ = jax.eval_shape(functionalize(mlp((28, 28, 1), 10)).init, jax.random.key(0))
    assert sum(p.size for p in jax.tree.leaves(params)) == 784 * 100 + 100 * 100 + 100 * 10 + 210


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"mlp: expected an activation among relu, .*, maxout; got activation='gelu'"):
        mlp((4,), 3, activation="gelu")
    with pytest.raises(ValueError, match=r"Dropout: expected rate within \[0, 1\]; got rate=1.5"):
        jax.eval_shape(functionalize(mlp((4,), 3, dropout=1.5)).init, jax.random.key(0))
    model = functionalize(mlp((4,), 3))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    with pytest.raises(ValueError, match=r"affine: expected .*; got x=\(2, 5\), weight=\(4, 100\)"):
        jax.eval_shape(lambda p, x: model.apply(p, state, x, train=False), params, jnp.ones((2, 5)))
