import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jax231.functional import elu, leaky_relu, log_softmax, maxout, prelu, relu, sigmoid, softmax, tanh
from tests.derivatives import assert_derivatives, relative_error
from tests.geometries import normal

DEFINITIONS = {
    sigmoid: lambda x: 1 / (1 + np.exp(-x)),
    tanh: lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
    relu: lambda x: np.maximum(x, 0),
    leaky_relu: lambda x: np.where(x > 0, x, 0.01 * x),
    elu: lambda x: np.where(x > 0, x, np.exp(x) - 1),
    softmax: lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    log_softmax: lambda x: np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
}
POINTWISE = [sigmoid, tanh, relu, leaky_relu, elu]


@pytest.mark.parametrize("f", DEFINITIONS, ids=lambda f: f.__name__)
def test_is_its_definition(f):
    x = 3 * normal(0, 4, 5)
    assert relative_error(jax.jit(f)(x), DEFINITIONS[f](x.astype(float))) <= 1e-6


@pytest.mark.parametrize("f", DEFINITIONS, ids=lambda f: f.__name__)
def test_derivatives(f, x64):
    x = jnp.asarray(normal(1, 2, 4, dtype=float))
    assert_derivatives(lambda x: f(x) ** 2, x)


@pytest.mark.parametrize("f", DEFINITIONS, ids=lambda f: f.__name__)
def test_large_inputs_stay_finite_in_every_derivative(f):
    x = jnp.array([-1e30, -1e4, -100.0, 0.0, 100.0, 1e4, 1e30])
    gradient = jax.grad(lambda x: f(x).sum())
    with np.errstate(all="raise"):
        values = f(x), gradient(x), jax.jvp(gradient, (x,), (jnp.ones_like(x),))[1]
    assert all(jnp.isfinite(v).all() for v in values)


@pytest.mark.parametrize("f", DEFINITIONS, ids=lambda f: f.__name__)
def test_keeps_bfloat16_and_nan(f):
    assert f(jnp.ones((2, 3), jnp.bfloat16)).dtype == jnp.bfloat16
    assert jnp.isnan(f(jnp.array([jnp.nan, 1.0]))[0])


@pytest.mark.parametrize(("f", "slope"), [(relu, 0.0), (leaky_relu, 0.01), (elu, 1.0)])
def test_the_kink_takes_the_slope_of_its_left_side(f, slope):
    zero = jnp.zeros(())
    assert jax.grad(f)(zero) == jax.jvp(f, (zero,), (jnp.ones(()),))[1] == jnp.float32(slope)


def test_relu_has_no_curvature():
    x = jnp.array([-1.0, 0.0, 1.0])
    assert not jax.jvp(jax.grad(lambda x: relu(x).sum()), (x,), (jnp.ones(3),))[1].any()


def test_relations_between_the_nonlinearities(x64):
    x = jnp.linspace(-4, 4, 33)
    chex.assert_trees_all_close(sigmoid(x) + sigmoid(-x), jnp.ones(33), rtol=1e-14)
    chex.assert_trees_all_close(tanh(x), 2 * sigmoid(2 * x) - 1, rtol=1e-12, atol=1e-15)
    chex.assert_trees_all_equal(leaky_relu(x, 0.0), relu(x))
    chex.assert_trees_all_equal(maxout(jnp.stack([x, jnp.zeros_like(x)], -1).reshape(-1), 2), relu(x))
    chex.assert_trees_all_close(softmax(jnp.stack([x, 0 * x], -1))[:, 0], sigmoid(x), rtol=1e-14)
    chex.assert_trees_all_close(jnp.exp(log_softmax(x)), softmax(x + 1000), rtol=1e-12)


def test_prelu_learns_one_slope_or_one_a_channel(x64):
    x = jnp.asarray(normal(2, 2, 3, dtype=float))
    assert_derivatives(lambda x, slope: prelu(x, slope) ** 2, x, jnp.array([0.1, 0.2, 0.3]))
    assert_derivatives(lambda x, slope: prelu(x, slope) ** 2, x, jnp.array(0.25))
    by_slope = jax.grad(lambda slope: prelu(x, slope).sum())(jnp.zeros(3))
    chex.assert_trees_all_close(by_slope, jnp.where(x < 0, x, 0).sum(0))
    assert jax.grad(lambda slope: prelu(jnp.array(jnp.inf), slope))(jnp.array(0.5)) == 0
    with pytest.raises(ValueError, match=r"prelu: expected slope \(\) or one a channel; got x=\(2, 3\), slope=\(2,\)"):
        prelu(x, jnp.ones(2))


def maxout_by_loop(x: np.ndarray, pieces: int) -> np.ndarray:
    units = x.shape[-1] // pieces
    return np.stack([x[..., u * pieces : (u + 1) * pieces].max(-1) for u in range(units)], -1)


@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_maxout_is_its_definition(batch, pieces):
    x = normal(3, *batch, 4 * pieces)
    chex.assert_trees_all_equal(jax.jit(maxout, static_argnums=1)(x, pieces), maxout_by_loop(x, pieces))


def test_maxout_gradient_goes_to_the_first_of_equal_pieces(x64):
    assert_derivatives(lambda x: maxout(x, 3) ** 2, jnp.asarray(normal(4, 2, 6, dtype=float)))
    square = jax.grad(lambda x: (maxout(x, 3) ** 2).sum())
    x = jnp.array([1.0, 2.0, 2.0])
    chex.assert_trees_all_equal(square(x), jnp.array([0.0, 4.0, 0.0]))
    tangents = jax.vmap(lambda v: jax.jvp(square, (x,), (v,))[1])(jnp.eye(3))
    chex.assert_trees_all_equal(tangents, jnp.diag(jnp.array([0.0, 2.0, 0.0])))


@pytest.mark.parametrize("pieces", [0, 3])
def test_maxout_names_the_width_it_cannot_split(pieces):
    with pytest.raises(ValueError, match=rf"maxout: expected .*; got x=\(2, 7\), pieces={pieces}"):
        maxout(jnp.ones((2, 7)), pieces)


def test_softmax_agrees_with_scipy_along_any_axis():
    x = 50 * normal(5, 3, 4, 2)
    for axis in (0, 1, -1):
        desired = scipy.special.softmax(x.astype(float), axis), scipy.special.log_softmax(x.astype(float), axis)
        for f, value in zip((softmax, log_softmax), desired, strict=True):
            assert relative_error(jax.jit(functools.partial(f, axis=axis))(x), value) <= 1e-6


def test_softmax_sums_bfloat16_in_float32():
    p = softmax(jnp.zeros(1024, jnp.bfloat16))
    assert (p == 1 / 1024).all()  # summed in bfloat16 the total would be 256


def test_agrees_with_torch():
    torch = pytest.importorskip("torch")
    x = normal(6, 3, 4)
    t = torch.from_numpy(x)
    functions = torch.nn.functional
    pairs = [(leaky_relu, functions.leaky_relu), (elu, functions.elu), (relu, torch.relu), (sigmoid, torch.sigmoid)]
    for ours, theirs in pairs:
        assert relative_error(ours(x), theirs(t).numpy()) <= 1e-6
