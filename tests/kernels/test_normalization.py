"""The compiled normalisation against its plain formulas, in every derivative and under every map."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.kernels import native, normalization
from jax231.kernels.normalization import channel_dots, normalize
from tests.derivatives import assert_derivatives, relative_error

SHAPES = [(7, 3), (2, 1), (1000, 1), (33, 5, 17), (5, 300), (65, 64, 8, 10), (64, 32, 16, 16)]


def operands(shape, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    x, scale, bias = 3 + 2 * rng.normal(size=shape), 0.5 + rng.random(shape[-1]), rng.normal(size=shape[-1])
    return tuple(jnp.asarray(a, dtype) for a in (x, scale, bias, 1e-3))


def by_definition(x, scale, bias, eps, relu):
    """In float64, whatever comes."""
    x, scale, bias, eps = (np.asarray(a, np.float64) for a in (x, scale, bias, eps))
    rows = tuple(range(x.ndim - 1))
    z = scale * (x - x.mean(rows)) / np.sqrt(x.var(rows) + eps) + bias
    return np.where(z <= 0, 0, z) if relu else z, x.mean(rows), x.var(rows)


plain = normalization._value  # the same function of arrays, differentiated by JAX alone


def compiled_call(f, *args) -> bool:
    return "custom_call @jax231_normalize" in jax.jit(f).lower(*args).as_text()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_moments_are_their_definition(shape, relu):
    args = operands(shape)
    f = functools.partial(normalize, relu=relu)
    assert compiled_call(f, *args) == native.active()
    for actual, desired in zip(jax.jit(f)(*args), by_definition(*args, relu), strict=True):
        assert relative_error(actual, desired) <= 1e-6


def test_a_large_mean_costs_no_digits():
    x = jnp.asarray(1e4 + np.random.default_rng(1).normal(size=(40_000, 3)), jnp.float32)
    mean, var = jax.jit(normalize)(x, jnp.ones(3), jnp.zeros(3), jnp.float32(0))[1:]
    exact = np.asarray(x, np.float64)
    assert relative_error(mean, exact.mean(0)) <= 1e-7
    assert relative_error(var, exact.var(0)) <= 1e-6


def summary(f, weights):
    """A number that sees every result of f."""

    def of(*args):
        y, mean, var = f(*args)
        return jnp.vdot(weights, jnp.tanh(y)) + jnp.sin(mean).sum() + jnp.square(var).sum()

    return of


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(7, 3), (33, 5, 17), (65, 64, 3, 10)])
def test_derivatives_are_those_of_the_plain_form(shape, relu, x64):
    args, moves = operands(shape, np.float64), operands(shape, np.float64, seed=1)
    weights = jnp.asarray(np.random.default_rng(2).normal(size=shape))

    def derivatives(f):
        value = summary(functools.partial(f, relu=relu), weights)
        gradient = jax.grad(value, argnums=range(4))
        return gradient(*args), jax.jvp(value, args, moves)[1], jax.jvp(gradient, args, moves)[1]

    ours, theirs = jax.jit(derivatives, static_argnums=0)(normalize), jax.jit(derivatives, static_argnums=0)(plain)
    for actual, desired in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert relative_error(actual, desired) <= 1e-10


@pytest.mark.parametrize("relu", [False, True])
def test_derivatives_against_differences(relu, x64):
    x, scale, bias, eps = operands((6, 2), np.float64)
    assert_derivatives(lambda *args: normalize(*args, eps, relu=relu), x, scale, bias)
    assert_derivatives(channel_dots, x, jnp.cos(x))


@pytest.mark.parametrize("nest", [(jax.jacrev, jax.jacrev), (jax.jacfwd, jax.jacrev), (jax.jacrev, jax.jacfwd)])
def test_second_derivatives_in_every_order(nest, x64):
    args = operands((4, 2), np.float64)
    outer, inner = nest

    def hessian(f):
        return outer(inner(summary(functools.partial(f, relu=True), jnp.ones((4, 2))), argnums=(0, 1)), argnums=(0, 1))

    ours, theirs = jax.jit(hessian(normalize))(*args), jax.jit(hessian(plain))(*args)
    for actual, desired in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(actual, desired, atol=1e-10)


def test_the_gradient_is_linear_and_transposes_to_the_tangent(x64):
    args = operands((9, 3), np.float64)
    _, back = jax.vjp(lambda x: normalize(x, *args[1:], relu=True)[0], args[0])
    _, forward = jax.linearize(lambda x: normalize(x, *args[1:], relu=True)[0], args[0])
    v = jnp.cos(args[0])
    (again,) = jax.linear_transpose(lambda ct: back(ct)[0], v)(v)
    assert relative_error(again, forward(v)) <= 1e-12
    assert relative_error(jax.jvp(lambda ct: back(ct)[0], (v,), (v,))[1], back(v)[0]) <= 1e-12


@pytest.mark.parametrize("axes", [(0, 0, 0, None), (0, None, None, None), (None, 0, None, None), (None, None, None, 0)])
def test_lanes_are_calls_one_after_the_other(axes, x64):
    """The gradient by operands without lanes is the sum over them."""
    lanes = [operands((5, 4, 3), np.float64, seed) for seed in range(3)]
    stacked = [jnp.stack(a) * (1 + jnp.arange(3.0).reshape(3, *[1] * a[0].ndim)) for a in zip(*lanes, strict=True)]
    args = [a if axis == 0 else a[0] for a, axis in zip(stacked, axes, strict=True)]

    def total(f, *args):
        mapped = jax.vmap(functools.partial(f, relu=True), axes)
        return summary(mapped, jnp.ones((3, 5, 4, 3)))(*args)

    def derivatives(f):
        gradient = jax.grad(functools.partial(total, f), argnums=range(4))
        return gradient(*args), jax.jvp(gradient, args, [jnp.cos(a) for a in args])[1]

    ours, theirs = jax.jit(derivatives, static_argnums=0)(normalize), jax.jit(derivatives, static_argnums=0)(plain)
    for actual, desired in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(actual, desired, rtol=1e-9, atol=1e-9)
    nested = jax.vmap(jax.vmap(channel_dots, (0, None)), (None, 0))(stacked[0], stacked[0])
    np.testing.assert_allclose(nested, jnp.einsum("apqc,bpqc->bac", stacked[0], stacked[0]), rtol=1e-12)


def test_a_loop_and_a_checkpoint_run_the_kernel():
    x, scale, bias, eps = operands((64, 8, 16))

    @jax.checkpoint
    def step(x, _):
        return normalize(x, scale, bias, eps, relu=True)[0], None

    def run(x):
        return jnp.square(jax.lax.scan(step, x, length=3)[0]).sum()

    expected = x
    for _ in range(3):
        expected = by_definition(expected, scale, bias, eps, True)[0]
    value, gradient = jax.jit(jax.value_and_grad(run))(x)
    assert relative_error(value, np.square(expected).sum()) <= 1e-6
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("relu", [False, True])
def test_nan_and_infinity_stay_in_their_channel(relu):
    x, scale, bias, eps = operands((50, 5))
    x = x.at[3, 1].set(jnp.nan).at[4, 2].set(jnp.inf)
    y, mean, var = jax.jit(functools.partial(normalize, relu=relu))(x, scale, bias, eps)
    broken = np.array([False, True, True, False, False])
    np.testing.assert_array_equal(np.isnan(y).all(0), broken)
    np.testing.assert_array_equal(np.isnan(var), broken)
    assert np.isinf(mean[2])
    gradient = jax.jit(jax.grad(lambda x: normalize(x, scale, bias, eps, relu=relu)[0].sum()))(x)
    np.testing.assert_array_equal(np.isnan(gradient).all(0), broken)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
def test_nothing_is_the_plain_form(shape):
    x, scale, bias, eps = operands(shape)
    assert jax.jit(normalize)(x, scale, bias, eps)[0].shape == shape
    np.testing.assert_array_equal(channel_dots(x, x), np.zeros(shape[-1]))


def test_the_zeros_of_the_positive_part_take_no_gradient():
    x, eps = jnp.array([[-1.0], [0.0], [1.0]]), jnp.float32(1e-3)
    gradient = jax.grad(lambda bias: normalize(x, jnp.ones(1), bias, eps, relu=True)[0].sum())(jnp.zeros(1))
    np.testing.assert_array_equal(gradient, [1.0])
