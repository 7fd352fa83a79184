import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.functional.activations import relu
from jax231.functional.conv import conv2d
from jax231.functional.norm import batch_norm_train
from jax231.functional.pool import avg_pool
from jax231.nn.bridge import functionalize, rate_kinds
from jax231.nn.dense import DenseBlock, DenseLayer, Transition
from tests.derivatives import relative_error

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6, 3)), jnp.float32)
CIN, LAYERS, GROWTH = 3, 3, 2


def block(remat):
    return functionalize(lambda rngs: DenseBlock(CIN, LAYERS, GROWTH, remat=remat, rngs=rngs))


def normalised(x, layer):
    c = x.shape[-1]
    return relu(batch_norm_train(x, layer["scale"], layer["bias"], jnp.zeros(c), jnp.ones(c))[0])


def test_a_dense_block_stacks_the_maps_of_all_layers():
    model = block(remat=False)
    params, state = model.init(jax.random.key(0))

    @jax.jit
    def both(params):
        maps = [X]
        for number in range(1, LAYERS + 1):
            layer = params[f"denselayer{number}"]
            x = conv2d(normalised(jnp.concatenate(maps, -1), layer["norm1"]), layer["conv1"]["kernel"])
            maps.append(conv2d(normalised(x, layer["norm2"]), layer["conv2"]["kernel"], padding=1))
        return model.apply(params, state, X, train=True)[0], jnp.concatenate(maps, -1)

    assert relative_error(*both(params)) <= 1e-6
    reads = [params[f"denselayer{number}"]["conv1"]["kernel"].shape for number in (1, 2, 3)]
    assert reads == [(1, 1, CIN + before * GROWTH, 4 * GROWTH) for before in range(3)]


def test_rematerialized_layers_keep_their_new_maps_only():
    params, state = block(remat=False).init(jax.random.key(0))

    def loss(remat):
        def value(params):
            y, after = block(remat).apply(params, state, X, train=True)
            return jnp.sin(y).sum(), after

        return value

    kept, again = (jax.jit(jax.grad(loss(remat), has_aux=True))(params) for remat in (False, True))
    assert jax.tree.structure(kept) == jax.tree.structure(again)
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(again), strict=True):
        assert relative_error(b, a) <= 1e-4

    names = [equation.primitive.name for equation in jax.make_jaxpr(loss(True))(params).eqns]
    layers = [name for name in names if name in ("checkpoint", "remat", "remat2")]
    assert len(layers) == LAYERS
    assert names.count("concatenate") == 1, "the maps are stacked within each layer, and once behind the last"


def test_a_transition_halves_maps_and_image():
    model = functionalize(lambda rngs: Transition(3, rngs=rngs))
    params, state = model.init(jax.random.key(0))
    y, _ = model.apply(params, state, X[:, :, :5], train=True)
    expected = avg_pool(conv2d(normalised(X[:, :, :5], params["norm"]), params["conv"]["kernel"]), 2)
    assert y.shape == (2, 2, 2, 1)
    assert relative_error(y, expected) <= 1e-6


@pytest.mark.parametrize(("rate", "kinds"), [(0.0, ()), (0.2, ("dropout",))])
def test_dropout_thins_the_new_maps(rate, kinds):
    def build(rngs):
        return DenseLayer(CIN, GROWTH, dropout=rate, rngs=rngs)

    assert rate_kinds(build) == kinds
    if kinds:
        layer = build(nnx.Rngs(0))
        assert layer.dropout is not None
        layer.dropout.rate[...] = jnp.ones(())
        assert not layer(X).any()
