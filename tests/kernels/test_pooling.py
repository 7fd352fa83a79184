"""The kernels against their definitions and their plain forms: whatever the mode, both are run."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax231.functional import avg_pool, max_pool, max_pool_with_switches, max_unpool
from jax231.kernels import pooling
from jax231.kernels.geometry import Geometry
from tests import references
from tests.derivatives import assert_derivatives
from tests.geometries import normal, poolings

CHANNELS = (1, 3, 4, 6, 8, 11)  # below, at and above a vector, with and without a rest


def geometry_of(drawn) -> Geometry:
    return Geometry(drawn.size, drawn.window, drawn.stride, drawn.ends)


def assert_bits(actual, desired) -> None:
    for a, d in zip(jax.tree.leaves(actual), jax.tree.leaves(desired), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(d))
        assert a.dtype == d.dtype


def awkward(seed: int, *shape: int, dtype=np.float32) -> np.ndarray:
    """Ties, infinities and NaNs."""
    values = np.array([-np.inf, -1, 0, 1, 1, 2, np.inf, np.nan], dtype)
    return np.random.default_rng(seed).choice(values, shape, p=[0.2, 0.15, 0.15, 0.1, 0.1, 0.1, 0.1, 0.1])


@settings(max_examples=8)
@given(poolings(), st.sampled_from(CHANNELS), st.sampled_from([np.float32, np.float64]))
def test_maximum_and_places(drawn, channels, dtype):
    with jax.enable_x64(True):
        geometry = geometry_of(drawn)
        x = awkward(0, 2, *drawn.size, channels, dtype=dtype)
        desired, switches = references.max_pool(x, drawn.window, drawn.stride, drawn.ends)
        v = normal(1, *x.shape, dtype=dtype)
        w = normal(2, *desired.shape, dtype=dtype)

        @jax.jit
        def forms(x, v, w):
            y, places = pooling.max_pool_with_places(x, geometry)
            read = jax.jvp(lambda x: pooling.max_pool(x, geometry), (x,), (v,))[1]
            add = jax.vjp(lambda x: pooling.max_pool(x, geometry), x)[1](w)[0]
            plain = pooling._plain_max_pool_with_places(x, geometry)
            plain_read = pooling._plain_read_at(v, plain[1], geometry)
            plain_add = pooling._plain_add_at(w, plain[1], geometry)
            one = pooling.max_pool(x, geometry), pooling._plain_max_pool(x, geometry)
            return (y, places, read, add), (*plain, plain_read, plain_add), one

        compiled, plain, one = forms(x, v, w)
        assert_bits(compiled[:3], plain[:3])
        assert_bits(one, (desired, desired))
        pixels = switches.reshape(2, -1, channels)
        image = np.zeros((2, math.prod(drawn.size), channels))
        n, c = np.arange(2)[:, None, None], np.arange(channels)
        np.add.at(image, (n, pixels, c), w.reshape(pixels.shape))
        for actual in (compiled[3], plain[3]):
            np.testing.assert_allclose(actual, image.reshape(x.shape), rtol=1e-5, atol=1e-5)
        read = v.reshape(2, -1, channels)[n, pixels, c].reshape(desired.shape)
        assert_bits(compiled[0], desired)
        assert_bits(compiled[2], read)


@settings(max_examples=6)
@given(poolings(), st.sampled_from(CHANNELS), st.sampled_from([np.float32, np.float64]))
def test_sums_and_unpooling(drawn, channels, dtype):
    with jax.enable_x64(True):
        geometry = geometry_of(drawn)
        x = normal(0, 2, *drawn.size, channels, dtype=dtype)
        w = normal(1, 2, *geometry.output, channels, dtype=dtype)
        switches = np.random.default_rng(2).integers(0, math.prod(drawn.size), w.shape).astype(np.int32)

        @jax.jit
        def forms(x, w, switches):
            total, back = jax.vjp(lambda x: pooling.window_sum(x, geometry), x)
            image, taken = jax.vjp(lambda y: pooling.put_mean(y, switches, geometry.size), w)
            plain = (
                pooling._plain_window_sum(x, geometry),
                pooling._plain_spread(w, geometry),
                pooling._plain_put_mean(w, switches, geometry.size),
                pooling._plain_take_mean(x, switches, geometry.size),
            )
            return (total, *back(w), image, *taken(x)), plain

        compiled, plain = forms(x, w, switches)
        for actual, other in zip(compiled, plain, strict=True):
            assert actual.dtype == dtype
            np.testing.assert_allclose(actual, other, rtol=1e-5, atol=1e-5)
        mean = references.avg_pool(x, drawn.window, drawn.stride, drawn.ends, count_padding=True)
        np.testing.assert_allclose(compiled[0], mean * math.prod(drawn.window), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(compiled[2], references.max_unpool(w, switches, drawn.size), rtol=1e-5, atol=1e-5)
        for there, v, back, u in ((compiled[0], w, compiled[1], x), (compiled[2], x, compiled[3], w)):
            np.testing.assert_allclose(np.vdot(there, v), np.vdot(back, u), rtol=1e-3, atol=1e-3)


POOLS = [
    functools.partial(max_pool, window=2),
    functools.partial(max_pool, window=3, stride=2, padding=1),
    functools.partial(max_pool, window=(2, 3), stride=1, padding="SAME"),
    functools.partial(avg_pool, window=3, stride=2, padding=1),
]


def test_derivatives(x64):
    values = np.random.default_rng(0).permutation(100) / 25 - 2  # further apart than the differences reach
    x = jnp.asarray(values.reshape(1, 4, 5, 5))
    assert_derivatives(lambda x: [jnp.tanh(f(x)) for f in POOLS], x)


def test_reverse_over_reverse_and_lanes_agree_with_forward_over_reverse(x64):
    xs, vs = jnp.asarray(normal(0, 2, 1, 4, 5, 5, dtype=float)), jnp.asarray(normal(1, 2, 2, 1, 4, 5, 5, dtype=float))

    def loss(x):
        y, switches = max_pool_with_switches(x, 2)
        unpooled = max_unpool(y**2, switches, x.shape)
        return sum(jnp.sum(jnp.sin(f(x))) for f in POOLS) + jnp.sum(unpooled**3)

    def forward(x, v):
        return jax.jvp(jax.grad(loss), (x,), (v,))[1]

    def backward(x, v):
        return jax.grad(lambda x: jnp.vdot(jax.grad(jax.checkpoint(loss))(x), v))(x)

    def in_loop(x, v):
        return jax.lax.scan(lambda total, _: (total + forward(x + 0 * total, v), None), 0 * x, length=2)[0] / 2

    each = jnp.stack([jnp.stack([forward(x, v) for x, v in zip(xs, row, strict=True)]) for row in vs])
    for f in (forward, backward, in_loop):
        mapped = jax.jit(jax.vmap(jax.vmap(f), (None, 0)))(xs, vs)  # the image in one map, tangents in both
        np.testing.assert_allclose(mapped, each, rtol=1e-12, atol=1e-12)


def test_the_first_nan_takes_the_gradient():
    x = jnp.array([[1.0, jnp.nan, 3.0], [jnp.nan, 5.0, jnp.inf]]).reshape(1, 2, 3, 1)
    gradient = jax.grad(lambda x: max_pool(x, (2, 3)).sum())
    assert_bits(gradient(x).ravel(), jnp.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]))
    assert_bits(gradient(jnp.full_like(x, -jnp.inf)).ravel(), jnp.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_types_are_exact(dtype):
    x = jnp.asarray(awkward(3, 2, 6, 6, 5), dtype)
    y, places = pooling.max_pool_with_places(x, Geometry((6, 6), (3, 3), (2, 2)))
    desired, _ = references.max_pool(np.asarray(x, np.float32), (3, 3), (2, 2))
    assert y.dtype == max_pool(x, 3).dtype == dtype
    assert places.dtype == np.uint8
    assert_bits(np.asarray(y, np.float32), desired)


def test_windows_of_many_places():
    """Above 255 places they no longer fit into a byte."""
    x = normal(0, 1, 17, 18, 2)
    geometry = Geometry((17, 18), (16, 17), (1, 1))
    y, places = jax.jit(functools.partial(pooling.max_pool_with_places, geometry=geometry))(x)
    plain = jax.jit(functools.partial(pooling._plain_max_pool_with_places, geometry=geometry))(x)
    assert places.dtype == np.int32
    assert_bits((y, places), plain)
    v = normal(1, *x.shape)
    tangent = jax.jit(lambda x, v: jax.jvp(lambda x: pooling.max_pool(x, geometry), (x,), (v,))[1])(x, v)
    assert_bits(tangent, pooling._plain_read_at(jnp.asarray(v), places, geometry))


def test_switches_outside_the_image_put_nothing():
    y, switches = jnp.ones((1, 2, 2, 1)), jnp.array([-1, 4, 2, 2]).reshape(1, 2, 2, 1)
    image, back = jax.vjp(jax.jit(lambda y, s: max_unpool(y, s, (2, 2))), y, switches)
    assert_bits(image.ravel(), jnp.array([0.0, 0.0, 1.0, 0.0]))
    assert_bits(back(jnp.ones_like(image))[0].ravel(), jnp.array([0.0, 0.0, 0.5, 0.5]))


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (2, 4, 4, 0)], ids=["no images", "no channels"])
def test_arrays_without_entries(shape):
    x = jnp.zeros(shape)
    for f in POOLS:
        assert jax.grad(lambda x, f=f: f(x).sum())(x).shape == shape
    y, switches = max_pool_with_switches(x, 2)
    assert max_unpool(y, switches, shape).shape == shape


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32])
def test_switches_of_any_integer_type(dtype):
    image = max_unpool(jnp.ones((1, 2, 2, 1)), np.arange(4, dtype=dtype).reshape(1, 2, 2, 1), (200, 200))
    np.testing.assert_array_equal(image.ravel()[:5], [1, 1, 1, 1, 0])
