import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional import initializers
from jax231.functional.conv import conv2d_transpose
from jax231.functional.initializers import bilinear, constant, gaussian, glorot, he, identity, orthogonal, xavier, zeros
from jax231.functional.pool import bilinear_upsample

EVERY = {
    "zeros": zeros(),
    "constant": constant(0.5),
    "gaussian": gaussian(),
    "xavier": xavier(),
    "glorot": glorot(),
    "glorot uniform": glorot("uniform"),
    "he": he(),
    "orthogonal": orthogonal(),
    "identity": identity(),
}


@functools.partial(jax.jit, static_argnums=(0, 2))
def drawn(initializer, key, shape):
    return initializer(key, shape)


@pytest.mark.parametrize(
    ("initializer", "shape", "variance"),
    [
        (gaussian(0.01), (300, 400), 1e-4),
        (gaussian(1.0), (200_000,), 1.0),
        (xavier(), (400, 300), 1 / 400),
        (xavier(), (3, 3, 64, 128), 1 / (9 * 64)),
        (glorot(), (400, 300), 2 / 700),
        (glorot("uniform"), (400, 300), 2 / 700),
        (glorot("uniform"), (5, 3, 64, 128), 2 / (15 * 64 + 15 * 128)),
        (he(), (400, 300), 2 / 400),
        (he(), (5, 64, 384), 2 / (5 * 64)),
    ],
)
def test_moments(initializer, shape, variance):
    sample = np.asarray(drawn(initializer, jax.random.key(0), shape), np.float64).ravel()
    assert abs(sample.mean()) < 4 * np.sqrt(variance / sample.size)
    np.testing.assert_allclose(sample.var(), variance, rtol=6 * np.sqrt(2 / sample.size))


def test_glorot_is_bounded_when_uniform_and_not_when_normal():
    limit = np.sqrt(6 / 700)
    largest = {
        kind: float(jnp.abs(drawn(glorot(kind), jax.random.key(1), (400, 300))).max()) for kind in ("normal", "uniform")
    }
    assert 0.999 * limit < largest["uniform"] <= limit < largest["normal"]


@pytest.mark.parametrize("shape", [(40, 40), (60, 20), (20, 60), (3, 3, 8, 16), (2, 2, 3, 32)])
def test_orthogonal(shape):
    matrix = np.asarray(drawn(orthogonal(1.5), jax.random.key(2), shape), np.float64).reshape(-1, shape[-1])
    short = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(short.T @ short, 1.5**2 * np.eye(short.shape[1]), atol=1e-5)


def test_orthogonal_is_uniform_over_both_signs():
    """Under Haar measure the trace has mean 0 and variance 1; without the sign correction it has not."""
    keys = jax.random.split(jax.random.key(3), 4000)
    traces = np.asarray(jax.jit(jax.vmap(lambda key: jnp.trace(orthogonal()(key, (3, 3)))))(keys))
    assert abs(traces.mean()) < 0.1
    np.testing.assert_allclose(traces.var(), 1.0, rtol=0.15)


def test_zeros_constant_and_identity():
    np.testing.assert_array_equal(constant(0.5)(jax.random.key(0), (3, 2)), np.full((3, 2), 0.5))
    np.testing.assert_array_equal(zeros()(jax.random.key(0), (3, 2)), np.zeros((3, 2)))
    np.testing.assert_array_equal(identity(0.5)(jax.random.key(0), (3, 3)), 0.5 * np.eye(3))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_interpolates_as_a_transposed_convolution(factor):
    window = 2 * factor - factor % 2
    kernel = bilinear()(jax.random.key(0), (window, window, 2, 2))
    x = jax.random.normal(jax.random.key(1), (1, 5, 4, 2))
    inside = np.s_[:, factor:-factor, factor:-factor]
    up = jax.jit(lambda x: conv2d_transpose(x, kernel, stride=factor))
    np.testing.assert_allclose(up(x)[inside], bilinear_upsample(x, factor)[inside], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(up(jnp.ones_like(x))[inside], 1, rtol=1e-6)
    assert bilinear()(jax.random.key(0), (4, 4, 2, 2), jnp.bfloat16).dtype == jnp.bfloat16


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2, 3)])
def test_bilinear_wants_as_many_channels_out_as_in(shape):
    with pytest.raises(ValueError, match=r"bilinear: expected the shape \(kh, kw, c, c\)"):
        bilinear()(jax.random.key(0), shape)


def test_a_recurrence_that_starts_as_the_identity_remembers():
    h = jnp.array([1.0, 0.0, 2.0])
    weight = identity()(jax.random.key(0), (3, 3))
    last, _ = jax.lax.scan(lambda h, _: (jax.nn.relu(h @ weight), None), h, length=100)
    np.testing.assert_array_equal(last, h)


def activations(initializer, nonlinearity):
    """The course's experiment, ten layers of 500 units on Gaussian data: spread, size and saturation in each."""

    @jax.jit
    def run(key):
        def layer(h, key):
            h = nonlinearity(h @ initializer(key, (500, 500)))
            return h, (h.std(), jnp.sqrt(jnp.mean(h**2)), jnp.mean(jnp.abs(h) > 0.95))

        return jax.lax.scan(layer, jax.random.normal(key, (1000, 500)), jax.random.split(key, 10))[1]

    return map(np.asarray, run(jax.random.key(4)))


def test_small_weights_kill_ten_tanh_layers():
    std, _, _ = activations(gaussian(0.01), jnp.tanh)
    assert std[0] > 0.1
    assert std[-1] < 1e-5


def test_large_weights_saturate_ten_tanh_layers():
    _, _, saturated = activations(gaussian(1.0), jnp.tanh)
    assert saturated.min() > 0.9


def test_xavier_keeps_ten_tanh_layers_alive():
    std, _, saturated = activations(xavier(), jnp.tanh)
    assert std.min() > 0.2
    assert saturated.max() < 0.1


def test_relu_wants_he_for_xavier_halves_the_variance_in_every_layer():
    _, kept, _ = activations(he(), jax.nn.relu)
    _, lost, _ = activations(xavier(), jax.nn.relu)
    np.testing.assert_allclose(kept, 1.0, rtol=0.3)
    np.testing.assert_allclose(lost, 0.5 ** (np.arange(1, 11) / 2), rtol=0.3)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_as_asked(name, dtype):
    assert EVERY[name](jax.random.key(0), (4, 4), dtype).dtype == jnp.dtype(dtype)


@pytest.mark.parametrize("name", EVERY)
def test_dtype_follows_the_precision_in_force(name):
    assert EVERY[name](jax.random.key(0), (4, 4)).dtype == np.float32
    with jax.enable_x64(True):
        assert EVERY[name](jax.random.key(0), (4, 4)).dtype == np.float64


def test_bfloat16_is_the_rounded_float32():
    key = jax.random.key(5)
    np.testing.assert_array_equal(he()(key, (8, 8), jnp.bfloat16), he()(key, (8, 8)).astype(jnp.bfloat16))


def test_equal_keys_draw_equal_values_under_vmap():
    keys = jax.random.split(jax.random.key(6), 2)
    together = jax.vmap(lambda key: he()(key, (4, 5)))(keys)
    np.testing.assert_allclose(together, np.stack([he()(key, (4, 5)) for key in keys]), rtol=1e-6)
    assert not np.allclose(together[0], together[1])


@pytest.mark.parametrize("name", ["xavier", "glorot", "he", "orthogonal"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 0), (0, 3)])
def test_shapes_without_fans(name, shape):
    with pytest.raises(ValueError, match=rf"{name}: expected a shape with two or more axes.*; got shape=\("):
        getattr(initializers, name)()(jax.random.key(0), shape)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 3)])
def test_identity_wants_a_square(shape):
    with pytest.raises(ValueError, match=r"identity: expected the shape \(h, h\)"):
        identity()(jax.random.key(0), shape)


def test_glorot_names_its_distributions():
    with pytest.raises(
        ValueError, match="glorot: expected a distribution among normal, uniform; got distribution='cauchy'"
    ):
        glorot("cauchy")


def test_gaussian_wants_a_deviation():
    with pytest.raises(ValueError, match=r"gaussian: expected .*; got std=-1"):
        gaussian(-1.0)
