"""Norms of activations and gradients, against two layers written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.types import Batch
from jax231.functional.losses import softmax_cross_entropy
from jax231.models import zoo
from jax231.models.flow import flow_through_time, gradient_flow
from jax231.nn.affine import Affine
from jax231.nn.bridge import functionalize
from jax231.nn.layer import Layer

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.array([0, 1, 1, 0, 1, 0])


class Two(Layer):
    """The first layer runs twice."""

    def __init__(self, *, rngs):
        self.same, self.last = Affine(3, 3, rngs=rngs), Affine(3, 2, rngs=rngs)

    def __call__(self, x):
        return self.last(jnp.tanh(self.same(jnp.tanh(self.same(x)))))


def test_two_layers_by_hand(x64):
    def build(rngs):
        return Two(rngs=rngs)

    params, state = functionalize(build).init(jax.random.key(0))
    flow = gradient_flow(build, params, state, Batch(jnp.asarray(X), jnp.asarray(Y)), softmax_cross_entropy)
    assert flow.names == ("same", "same (2)", "last")
    assert flow.kinds == ("Affine",) * 3

    def by_hand(params, first=0.0, second=0.0, third=0.0):
        a = X @ params["same"]["kernel"] + params["same"]["bias"] + first
        b = jnp.tanh(a) @ params["same"]["kernel"] + params["same"]["bias"] + second
        c = jnp.tanh(b) @ params["last"]["kernel"] + params["last"]["bias"] + third
        return softmax_cross_entropy(c, jnp.asarray(Y)).mean(), (a, b, c)

    zeros = [jnp.zeros((6, size)) for size in (3, 3, 2)]
    (value, outputs), grads = jax.value_and_grad(by_hand, (0, 1, 2, 3), has_aux=True)(params, *zeros)
    np.testing.assert_allclose(flow.loss, value)
    np.testing.assert_allclose(flow.mean, [x.mean() for x in outputs])
    np.testing.assert_allclose(flow.std, [x.std() for x in outputs])
    np.testing.assert_allclose(flow.norm, [jnp.linalg.norm(x) for x in outputs])
    np.testing.assert_allclose(flow.gradient, [jnp.linalg.norm(x) for x in grads[1:]], rtol=1e-9)
    sizes = [[np.sqrt(sum((x**2).sum() for x in tree[name].values())) for name in ("same", "same", "last")]
             for tree in (params, grads[0])]  # fmt: skip
    np.testing.assert_allclose([flow.parameters, flow.parameter_gradient], sizes, rtol=1e-9)


def test_gradients_too_small_to_be_squared_are_told():
    def build(rngs):
        return Two(rngs=rngs)

    params, state = functionalize(build).init(jax.random.key(0))
    batch = Batch(jnp.asarray(X, jnp.float32), jnp.asarray(Y))
    flow = gradient_flow(build, params, state, batch, lambda outputs, targets: 1e-25 * outputs.sum())
    assert flow.gradient.dtype == jnp.float32
    assert (np.asarray(flow.gradient) > 1e-27).all()


def test_a_model_with_random_layers_in_training():
    entry = zoo.entry("mlp_batch_norm")
    build = entry.constructor((2, 2, 1), 3, widths=(4,))
    params, state = functionalize(build).init(jax.random.key(0))
    batch = Batch(jnp.asarray(X[:, None, :1] * np.ones((1, 2, 2)))[..., None].astype(jnp.float32), jnp.asarray(Y))
    flow = gradient_flow(build, params, state, batch, entry.loss_function, train=True, key=jax.random.key(1))
    assert flow.names == ("hidden/00/affine", "hidden/00/norm", "hidden/00/dropout", "scores")
    assert flow.parameters[2] == 0


def test_through_time_it_is_the_derivative_by_a_carry(x64):
    model = zoo.entry("char_lstm").build((4,), 5, hidden=3)
    params, state = model.init(jax.random.key(0))
    tokens, targets = jnp.array([[0, 3, 1, 4], [2, 2, 0, 1]]), jnp.array([1, 3])

    def loss(logits, targets):
        return softmax_cross_entropy(logits[:, -1], targets)

    @jax.jit
    def rest(carry):
        (_, logits), _ = model.apply(params, state, (carry, tokens[:, 2:]), train=False)
        return loss(logits, targets).mean()

    zero = tuple((jnp.zeros((2, 3)),) * 2 for _ in range(2))
    (reached, _), _ = jax.jit(lambda carry: model.apply(params, state, (carry, tokens[:, :2]), train=False))(zero)
    norms = flow_through_time(model, params, state, zero, tokens, targets, loss)
    assert norms.shape == (3,)
    squares = sum((x**2).sum() for x in jax.tree.leaves(jax.grad(rest)(reached)))
    np.testing.assert_allclose(norms[1], jnp.sqrt(squares), rtol=1e-9)


def test_what_it_refuses():
    model = zoo.entry("char_rnn").build((4,), 5, hidden=3)
    with pytest.raises(ValueError, match=r"tokens \(n, t\)"):
        flow_through_time(model, {}, {}, {}, jnp.zeros(3, int), jnp.zeros(3, int), softmax_cross_entropy)
