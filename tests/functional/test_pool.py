import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings

from jax231.functional import (
    adaptive_avg_pool,
    avg_pool,
    bed_of_nails_unpool,
    bilinear_upsample,
    global_avg_pool,
    max_pool,
    max_pool_with_switches,
    max_unpool,
    nearest_unpool,
)
from tests import references
from tests.derivatives import assert_derivatives, relative_error
from tests.geometries import normal, poolings


@settings(max_examples=15)
@given(poolings())
def test_max_pool_and_its_inverse_are_their_definitions(drawn):
    x = np.random.default_rng(0).integers(-2, 2, (2, *drawn.size, 3)).astype(np.float32)  # with ties
    x[0, 0, 0] = -np.inf
    how = {"window": drawn.window, "stride": drawn.stride, "padding": drawn.padding}
    desired, places = references.max_pool(x, drawn.window, drawn.stride, drawn.ends)
    y, switches = jax.jit(functools.partial(max_pool_with_switches, **how))(x)
    chex.assert_trees_all_equal((y, switches), (desired, places))
    chex.assert_trees_all_equal(max_pool(x, **how), y)
    z = normal(1, *y.shape)
    unpooled = jax.jit(max_unpool, static_argnums=2)(z, switches, x.shape)
    np.testing.assert_allclose(unpooled, references.max_unpool(z, places, drawn.size), rtol=1e-5, atol=1e-6)


@settings(max_examples=10)
@given(poolings())
def test_avg_pool_is_its_definition(drawn):
    x = normal(0, 2, *drawn.size, 3)
    for count in (False, True):
        desired = references.avg_pool(x, drawn.window, drawn.stride, drawn.ends, count)
        how = {"stride": drawn.stride, "padding": drawn.padding, "count_padding": count}
        assert relative_error(jax.jit(functools.partial(avg_pool, window=drawn.window, **how))(x), desired) <= 1e-6


@pytest.mark.parametrize(("shape", "size"), [((14, 9), 4), ((7, 5), (3, 5)), ((2, 3), (4, 7)), ((6, 4), (3, 2))])
def test_adaptive_avg_pool_is_its_definition(shape, size):
    x = normal(0, 2, *shape, 3)
    oh, ow = (size, size) if isinstance(size, int) else size
    desired = np.empty((2, oh, ow, 3))
    for i, j in np.ndindex(oh, ow):
        rows = slice(math.floor(i * shape[0] / oh), math.ceil((i + 1) * shape[0] / oh))
        columns = slice(math.floor(j * shape[1] / ow), math.ceil((j + 1) * shape[1] / ow))
        desired[:, i, j] = x[:, rows, columns].astype(float).mean((1, 2))
    assert relative_error(adaptive_avg_pool(x, size), desired) <= 1e-6
    if shape == (6, 4):
        assert relative_error(adaptive_avg_pool(x, size), avg_pool(x, 2)) <= 1e-6
    assert relative_error(adaptive_avg_pool(x, 1)[:, 0, 0], global_avg_pool(x)) <= 1e-6


def test_the_first_maximum_in_row_major_order_takes_the_gradient():
    x = jnp.array([[1.0, 3.0], [3.0, 3.0]]).reshape(1, 2, 2, 1)
    square = jax.grad(lambda x: (max_pool(x, 2) ** 2).sum())
    chex.assert_trees_all_equal(square(x).ravel(), jnp.array([0.0, 6.0, 0.0, 0.0]))
    tangents = jnp.arange(4.0).reshape(x.shape)
    chex.assert_trees_all_equal(jax.jvp(square, (x,), (tangents,))[1].ravel(), jnp.array([0.0, 2.0, 0.0, 0.0]))
    padded = jax.grad(lambda x: max_pool(x, 3, stride=1, padding=1).sum())(jnp.ones((1, 2, 2, 1)))
    chex.assert_trees_all_equal(padded.ravel(), jnp.array([4.0, 0.0, 0.0, 0.0]))


def test_nan_and_minus_infinity_pass_through_pooling():
    x = jnp.full((1, 2, 2, 2), -jnp.inf).at[0, 1, 1, 1].set(jnp.nan)
    y, switches = max_pool_with_switches(x, 2)
    chex.assert_trees_all_equal((y.ravel(), switches.ravel()), (jnp.array([-jnp.inf, jnp.nan]), jnp.array([0, 3])))


def test_derivatives(x64):
    x = jnp.asarray(normal(0, 1, 4, 3, 2, dtype=float))
    functions = [
        functools.partial(max_pool, window=(3, 2), stride=1, padding="SAME"),
        functools.partial(avg_pool, window=2, stride=1, padding=1),
        functools.partial(bilinear_upsample, factor=(2, 3)),
        functools.partial(adaptive_avg_pool, size=(3, 2)),
        global_avg_pool,
    ]
    assert_derivatives(lambda x: [f(x) ** 2 for f in functions], x)
    y, switches = max_pool_with_switches(x, 2, stride=1)
    assert_derivatives(lambda y: [max_unpool(y, switches, x.shape) ** 2, nearest_unpool(y, 2) ** 2], y)


def test_unpooling_places_each_maximum_once():
    x = jnp.abs(normal(1, 2, 6, 6, 3)) + 1
    for stride in (1, 2):
        y, switches = max_pool_with_switches(x, 3, stride=stride)
        sparse = max_unpool(y, switches, x.shape)
        chosen = sparse != 0
        chex.assert_trees_all_close(sparse, jnp.where(chosen, x, 0), rtol=1e-6)
        chex.assert_trees_all_close(max_pool(sparse, 3, stride=stride), y, rtol=1e-6)
        chex.assert_trees_all_equal(max_unpool(y, switches, (6, 6)), sparse)


def test_unpools_without_switches_are_their_definitions():
    x = normal(2, 2, 3, 4, 2)
    chex.assert_trees_all_equal(nearest_unpool(x, (2, 3)), x.repeat(2, 1).repeat(3, 2))
    nails = np.zeros((2, 6, 12, 2), np.float32)
    nails[:, ::2, ::3] = x
    chex.assert_trees_all_equal(bed_of_nails_unpool(x, (2, 3)), nails)
    chex.assert_trees_all_close(avg_pool(nearest_unpool(x, 3), 3), x, rtol=1e-6, atol=1e-7)
    assert relative_error(global_avg_pool(x), x.astype(float).mean((1, 2))) <= 1e-6


@pytest.mark.parametrize("factor", [1, 2, 3, (4, 3)])
def test_bilinear_upsampling_agrees_with_scipy_and_jax(factor, x64):
    x = normal(3, 1, 3, 4, 1, dtype=float)
    y = bilinear_upsample(x, factor)
    fh, fw = (factor, factor) if isinstance(factor, int) else factor
    zoomed = scipy.ndimage.zoom(x[0, :, :, 0], (fh, fw), order=1, mode="nearest", grid_mode=True)
    assert relative_error(y[0, :, :, 0], zoomed) <= 1e-12
    assert relative_error(y, jax.image.resize(x, y.shape, "bilinear")) <= 1e-12


def test_bfloat16_is_kept_and_summed_in_float32():
    x = jnp.ones((1, 32, 32, 1), jnp.bfloat16)
    y, switches = max_pool_with_switches(x, 2)
    means = (avg_pool(x, 32), adaptive_avg_pool(x, 3), global_avg_pool(x))
    for z in (y, *means, max_unpool(y, switches, x.shape), bilinear_upsample(y, 2)):
        assert z.dtype == jnp.bfloat16
        assert z.max() == 1


X = jnp.ones((2, 4, 4, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: max_pool(X[0], 2), r"max_pool: expected x with 4 axes \(n h w c\); got x=\(4, 4, 3\)"),
        (lambda: max_pool(X, 5), "max_pool: expected a window that fits into the padded image; got size=4, window=5"),
        (lambda: max_pool(X, 2, stride=0), "max_pool: expected stride as an integer of at least 1"),
        (lambda: max_pool_with_switches(X, 2, padding=2), "max_pool_with_switches: expected padding below the window"),
        (lambda: avg_pool(X, (2, 0)), "avg_pool: expected window as an integer of at least 1"),
        (lambda: global_avg_pool(X[:, :0]), "global_avg_pool: expected an image of at least one pixel"),
        (lambda: adaptive_avg_pool(X[0], 2), r"adaptive_avg_pool: expected x with 4 axes \(n h w c\)"),
        (lambda: adaptive_avg_pool(X[:, :, :0], 2), "adaptive_avg_pool: expected an image of at least one pixel"),
        (lambda: adaptive_avg_pool(X, 0), "adaptive_avg_pool: expected size as an integer of at least 1"),
        (lambda: max_unpool(X, jnp.zeros((2, 4, 4, 1), int), (4, 4)), "max_unpool: expected one switch for each"),
        (lambda: max_unpool(X, jnp.full(X.shape, 16), (4, 4)), r"max_unpool: expected switches within \[0, 16\)"),
        (lambda: max_unpool(X, jnp.zeros(X.shape, int), (4, 4, 3)), "max_unpool: expected shape as"),
        (lambda: nearest_unpool(X, 0), "nearest_unpool: expected factor as an integer of at least 1"),
        (lambda: bilinear_upsample(X[0], 2), "bilinear_upsample: expected x with 4 axes"),
        (lambda: bed_of_nails_unpool(X, (2, 2, 2)), "bed_of_nails_unpool: expected factor"),
    ],
)
def test_errors_say_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_agrees_with_torch():
    torch = pytest.importorskip("torch")
    functions = torch.nn.functional
    x = normal(4, 2, 7, 6, 3)
    image = torch.from_numpy(x).permute(0, 3, 1, 2)
    last = functools.partial(np.moveaxis, source=1, destination=3)
    theirs, indices = functions.max_pool2d(image, 3, 2, 1, return_indices=True)
    y, switches = max_pool_with_switches(x, 3, stride=2, padding=1)
    chex.assert_trees_all_equal(y, last(theirs.numpy()))
    chex.assert_trees_all_equal(switches, last(indices.numpy()).astype(np.int32))
    unpooled = functions.max_unpool2d(theirs, indices, 3, 2, 1, output_size=(7, 6))
    chex.assert_trees_all_close(max_unpool(y, switches, x.shape), last(unpooled.numpy()), rtol=1e-6)
    for count in (False, True):
        mean = functions.avg_pool2d(image, 3, 2, 1, count_include_pad=count)
        ours = avg_pool(x, 3, stride=2, padding=1, count_padding=count)
        chex.assert_trees_all_close(ours, last(mean.numpy()), rtol=1e-5, atol=1e-6)
    for size in (4, (3, 8)):
        adaptive = last(functions.adaptive_avg_pool2d(image, size).numpy())
        chex.assert_trees_all_close(adaptive_avg_pool(x, size), adaptive, rtol=1e-5, atol=1e-6)
    up = functions.interpolate(image, scale_factor=3, mode="bilinear", align_corners=False)
    chex.assert_trees_all_close(bilinear_upsample(x, 3), last(up.numpy()), rtol=1e-5, atol=1e-6)
