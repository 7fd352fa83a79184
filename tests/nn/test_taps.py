"""K-FAC by way of the bridge: `tapped_layers` and ``apply_tapped`` on real digits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.unoptimized import jit_unoptimized
from jax231.data import sources
from jax231.functional.losses import softmax_cross_entropy
from jax231.models.mlp import mlp
from jax231.nn.affine import Affine
from jax231.nn.bridge import functionalize, tapped_layers
from jax231.nn.conv import Conv
from jax231.nn.flatten import flatten
from jax231.nn.pool import AvgPool
from jax231.nn.sequential import Sequential
from jax231.optim.kfac import kfac
from jax231.optim.sgd import sgd
from tests.outputs import Composed, descent

COUNT = 64


def convnet(rngs):
    """LeNet's c1 and s2, and the scores: one more convolution would take as long again to compile."""
    return Sequential([Conv(1, 6, 5, rngs=rngs), jnp.tanh, AvgPool(2), flatten, Affine(96, 10, rngs=rngs)])


NETS = {"mlp": mlp((8, 8, 1), 10, widths=(12,), activation="tanh"), "convnet": convnet}


@functools.cache
def digits(count):
    """So many images, of zero mean and unit variance, and their labels."""
    train = sources.load("digits").train.take(np.arange(count))
    return jnp.asarray((train.images - 4.9) / 6.0, jnp.float32), jnp.asarray(train.labels)


def setting(constructor, count):
    """The loss on digits as a function of the outputs, and what K-FAC taps."""
    model, (images, labels) = functionalize(constructor), digits(count)
    params, state = jit_unoptimized(model.init)(jax.random.key(0))

    def outputs_fn(params):
        return model.apply(params, state, images, train=False)[0]

    def taps(params, probes):
        return model.apply_tapped(params, probes, images, state=state)

    return Composed(outputs_fn, lambda logits: jnp.mean(softmax_cross_entropy(logits, labels)), params), taps


@functools.cache
def kfac_steps(name):
    """The problem, and points and states of ten steps with exact expectations."""
    problem, taps = setting(NETS[name], COUNT)
    layers = tapped_layers(NETS[name])
    run = descent(lambda damping: kfac(damping, layers=layers, samples=0), problem, 10, taps=taps)
    return problem, *run(0.01)


@pytest.mark.parametrize("name", NETS)
def test_ten_steps_go_far_below_sixty_of_the_best_descent(name):
    problem, points, states = kfac_steps(name)
    value = jax.jit(problem.value_fn)
    reached = value(jax.tree.map(lambda leaf: leaf[-1], points))
    run = descent(sgd, problem, 60)
    values = [value(jax.tree.map(lambda leaf: leaf[-1], run(rate)[0])) for rate in (0.1, 0.3, 1.0)]
    assert not states.stalled.any()
    assert reached < 0.5 * min(values)


def test_factors_are_the_dense_definitions():
    """Of the scores, and of the hidden layer below a tanh."""
    problem, _, states = kfac_steps("mlp")
    params = problem.start
    x = np.asarray(digits(COUNT)[0], np.float64).reshape(COUNT, 64)
    first, scores = (jax.tree.map(np.asarray, layer) for layer in (params["hidden"]["00"]["affine"], params["scores"]))
    h = np.tanh(x @ first["kernel"] + first["bias"])
    p = np.asarray(jax.nn.softmax(problem.outputs_fn(params)), np.float64)
    hessians = np.einsum("nk,kl->nkl", p, np.eye(10)) - np.einsum("nk,nl->nkl", p, p)
    back = np.einsum("nu,uk->nuk", 1 - h**2, scores["kernel"])
    expected = {"hidden/00/affine": (x, back @ hessians @ back.transpose(0, 2, 1)), "scores": (h, hessians)}
    assert set(states.factors) == set(expected)
    for name, (inputs, curvatures) in expected.items():
        rows, found = np.column_stack([inputs, np.ones(COUNT)]), states.factors[name]
        np.testing.assert_allclose(found.inputs[0], rows.T @ rows / COUNT, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.outputs[0], curvatures.mean(0), rtol=1e-3, atol=1e-6)
