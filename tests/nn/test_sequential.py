"""Layers in a row, and blocks that the backward pass computes again."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.functional.activations import leaky_relu
from jax231.nn.affine import Affine
from jax231.nn.bridge import arrays, functionalize
from jax231.nn.noise import Dropout
from jax231.nn.norm import BatchNorm
from jax231.nn.sequential import Sequential

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)


def test_items_are_modules_and_functions():
    rngs = nnx.Rngs(0)
    first, second = Affine(3, 4, rngs=rngs), Affine(4, 2, rngs=rngs)
    slope = functools.partial(leaky_relu, slope=0.5)
    model = Sequential([first, slope, jnp.tanh, second])
    assert (len(model), model[0], model[-1], model[1]) == (4, first, second, slope)
    np.testing.assert_array_equal(model(X), second(jnp.tanh(slope(first(X)))))
    assert set(arrays(model)[0]["layers"]) == {"00", "03"}
    np.testing.assert_array_equal(Sequential([])(X), X)


def net(remat, rngs):
    block = Sequential([Affine(3, 4, rngs=rngs), BatchNorm(4), jnp.tanh, Dropout(0.5, rngs=rngs)])
    return Sequential([block, jnp.tanh, Affine(4, 1, rngs=rngs)], remat=remat)


@pytest.mark.parametrize("train", [True, False])
def test_rematerialized_blocks_give_the_same_values_and_derivatives(train):
    models = [functionalize(functools.partial(net, remat)) for remat in (False, True)]
    params, state = models[0].init(jax.random.key(0))
    key = jax.random.key(1) if train else None

    def loss(model, params):
        y, new = model.apply(params, state, X, train=train, key=key)
        return jnp.sum(y**2), new

    @jax.jit
    def everything(params):
        def derivatives(model):
            gradient = jax.grad(functools.partial(loss, model), has_aux=True)
            (grads, new), (product, _) = jax.jvp(gradient, (params,), (params,))
            return loss(model, params), grads, new, product

        return [derivatives(model) for model in models]

    plain, remat = everything(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), remat, plain)
    tanhs = [str(jax.make_jaxpr(jax.grad(lambda p, m=m: loss(m, p)[0]))(params)).count("tanh") for m in models]
    assert tanhs == [2, 3], "the block runs forward once more"
