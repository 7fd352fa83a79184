import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.kernels import convolution_plain
from jax231.kernels.convolution_plain import (
    image_of,
    in_turn,
    kernel_of,
    output_of,
    stock_image,
    stock_kernel,
    stock_output,
)
from jax231.kernels.geometry import Geometry
from tests import references
from tests.derivatives import relative_error
from tests.geometries import normal

SHAPES = {
    # geometry, cin of a group, cout
    "3x3": (Geometry((5, 6), (3, 3), padding=((1, 1), (1, 1))), 4, 3),
    "strided": (Geometry((6, 7), (3, 2), (2, 3), ((1, 0), (0, 2))), 4, 2),
    "stride over the window": (Geometry((7, 5), (2, 1), (3, 2)), 4, 2),
    "dilated": (Geometry((6, 5), (2, 3), dilation=(3, 2), padding=((0, 2), (1, 1))), 5, 2),
    "dilated, strided": (Geometry((8, 7), (3, 2), (2, 3), ((2, 1), (0, 0)), (2, 2)), 4, 2),
    "dilated one way, strided the other": (Geometry((6, 7), (2, 3), (1, 2), dilation=(2, 1)), 4, 2),
    "cut": (Geometry((6, 7), (3, 3), padding=((-1, 1), (0, -2))), 4, 2),
    "padding beyond the window": (Geometry((3, 3), (2, 2), padding=((3, 2), (2, 3))), 4, 2),
    "pixels left over": (Geometry((6, 8), (2, 2), (3, 3)), 4, 2),
    "1x1": (Geometry((3, 4), (1, 1)), 3, 2),
    "1x1, strided, padded, cut": (Geometry((5, 4), (1, 1), (2, 2), ((1, 0), (-1, 1))), 3, 2),
    "one channel": (Geometry((4, 8), (5, 5), padding=((2, 2), (2, 2))), 1, 3),
    "two channels": (Geometry((4, 6), (3, 3), padding=((1, 1), (0, 2))), 2, 2),
    "three channels, odd width": (Geometry((4, 5), (3, 3), padding=((1, 1), (1, 1))), 3, 2),
    "three channels, strided": (Geometry((9, 9), (7, 7), (2, 2), ((3, 3), (3, 3))), 3, 2),
    "three channels, cut": (Geometry((4, 7), (3, 3), padding=((0, 0), (-1, -2))), 3, 2),
    "depthwise": (Geometry((5, 4), (3, 3), (1, 2), ((1, 1), (1, 1)), groups=3), 1, 3),
    "depthwise, two filters each": (Geometry((4, 4), (2, 2), (1, 1), ((1, 0), (-1, 1)), (2, 1), groups=3), 1, 6),
    "groups": (Geometry((4, 5), (3, 2), (2, 1), ((1, 1), (0, 0)), groups=2), 2, 4),
}

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def arrays(shape, n=2, dtype=np.float32, lanes=()):
    """Image, kernel and output of the shape, all random."""
    geometry, cin, cout = shape
    return (
        jnp.asarray(normal(0, *lanes, n, *geometry.size, geometry.groups * cin, dtype=dtype)),
        jnp.asarray(normal(1, *lanes, *geometry.window, cin, cout, dtype=dtype)),
        jnp.asarray(normal(2, *lanes, n, *geometry.output, cout, dtype=dtype)),
    )


def by_definition(x, kernel, y, geometry):
    """Output, image and kernel, each from the two others, by NumPy loops; negative padding cuts the image."""
    cut = tuple((max(-low, 0), max(-high, 0)) for low, high in geometry.padding)
    inner = tuple(slice(low, n - high) for n, (low, high) in zip(geometry.size, cut, strict=True))
    ends = tuple((max(low, 0), max(high, 0)) for low, high in geometry.padding)
    axes = (geometry.stride, ends, geometry.dilation, geometry.groups)
    x, kernel, y = np.asarray(x)[:, *inner], np.asarray(kernel), np.asarray(y)
    image = np.pad(references.conv2d_transpose(y, kernel, x.shape[1:3], *axes), ((0, 0), *cut, (0, 0)))
    return references.conv2d(x, kernel, *axes), image, kernel_by_loop(np.pad(x, ((0, 0), *ends, (0, 0))), y, geometry)


def kernel_by_loop(x, y, geometry):
    """Every output entry adds its multiple of the pixels that its filter saw."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.window, geometry.stride, geometry.dilation
    cin, cout = x.shape[3] // geometry.groups, y.shape[3]
    kernel = np.zeros((kh, kw, cin, cout))
    for i, j, o in np.ndindex(y.shape[1:]):
        first = o // (cout // geometry.groups) * cin
        for a, b in np.ndindex(kh, kw):
            pixels = x[:, i * sh + a * dh, j * sw + b * dw, first : first + cin]
            kernel[a, b, :, o] += pixels.T.astype(np.float64) @ y[:, i, j, o]
    return kernel


@shapes
def test_every_map_is_its_definition(shape):
    x, kernel, y = arrays(shape)
    geometry = shape[0]
    desired = by_definition(x, kernel, y, geometry)

    @jax.jit
    def maps(x, kernel, y):
        return output_of(x, kernel, geometry), image_of(y, kernel, geometry), kernel_of(x, y, geometry)

    for actual, expected in zip(maps(x, kernel, y), desired, strict=True):
        assert actual.dtype == np.float32
        assert relative_error(actual, expected) <= 1e-6


@pytest.mark.parametrize("name", ["strided", "cut", "groups"])
def test_the_stock_forms_are_the_definition(name):
    x, kernel, y = arrays(SHAPES[name])
    geometry = SHAPES[name][0]
    forms = stock_output(x, kernel, geometry), stock_image(y, kernel, geometry), stock_kernel(x, y, geometry)
    for actual, expected in zip(forms, by_definition(x, kernel, y, geometry), strict=True):
        assert relative_error(actual, expected) <= 1e-6


@pytest.mark.parametrize(("n", "block"), [(1, 50), (6, 1), (6, 200), (6, 10**6)])
def test_the_kernel_is_the_same_in_any_blocks(monkeypatch, n, block):
    monkeypatch.setattr(convolution_plain, "BLOCK", block)
    monkeypatch.setattr(convolution_plain, "BLOCK_PIXELS", 1)
    shape = (Geometry((8, 5), (3, 3), (2, 1), ((1, 1), (1, 1))), 4, 2)
    x, _, y = arrays(shape, n)
    assert relative_error(kernel_of(x, y, shape[0]), stock_kernel(x, y, shape[0])) <= 1e-6


def test_patches_of_a_large_batch_are_bounded():
    geometry = Geometry((28, 28), (3, 3), padding=((1, 1), (1, 1)))
    x, y = jnp.zeros((5000, 28, 28, 8)), jnp.zeros((5000, 28, 28, 8))
    memory = jax.jit(kernel_of, static_argnums=2).lower(x, y, geometry).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 2 * x.nbytes


@pytest.mark.parametrize("name", ["strided", "1x1", "two channels", "depthwise", "groups"])
def test_an_empty_batch(name):
    x, kernel, y = arrays(SHAPES[name], n=0)
    geometry = SHAPES[name][0]
    assert output_of(x, kernel, geometry).shape == y.shape
    assert image_of(y, kernel, geometry).shape == x.shape
    np.testing.assert_array_equal(kernel_of(x, y, geometry), np.zeros_like(kernel))


@pytest.mark.parametrize("laned", [(False, True), (True, False), (True, True)])
def test_lanes_are_taken_in_turn(laned):
    geometry, *_ = shape = SHAPES["strided"]
    one, many = arrays(shape), arrays(shape, lanes=(3,))

    def pick(first, second):
        return [(many if lane else one)[i] for i, lane in zip((first, second), laned, strict=True)]

    for form, stock, places in ((output_of, stock_output, (0, 1)), (kernel_of, stock_kernel, (0, 2))):
        operands = pick(*places)
        actual = in_turn(form)(*operands, geometry=geometry, laned=laned)
        desired = jax.vmap(functools.partial(stock, geometry=geometry), [0 if lane else None for lane in laned])
        assert relative_error(actual, desired(*operands)) <= 1e-6


@shapes
def test_only_forward_convolutions_of_one_group(shape):
    """XLA is slow at grouped ones, and at those it makes as gradients."""
    x, kernel, y = arrays(shape)
    geometry = shape[0]

    def maps(x, kernel, y):
        return output_of(x, kernel, geometry), image_of(y, kernel, geometry), kernel_of(x, y, geometry)

    text = str(jax.make_jaxpr(maps)(x, kernel, y))
    settings = re.findall(r"(group_count|lhs_dilation|lhs_spec|rhs_spec)=(\d+|\(.*?\))", text)
    allowed = {"group_count": "1", "lhs_dilation": "(1, 1)", "lhs_spec": "(0, 3, 1, 2)", "rhs_spec": "(3, 2, 0, 1)"}
    assert dict(settings) in ({}, allowed)
    assert set(settings) <= set(allowed.items())


def test_float64(x64):
    shape = SHAPES["strided"]
    x, kernel, y = arrays(shape, dtype=np.float64)
    geometry = shape[0]
    forms = output_of(x, kernel, geometry), image_of(y, kernel, geometry), kernel_of(x, y, geometry)
    for actual, desired in zip(forms, by_definition(x, kernel, y, geometry), strict=True):
        assert relative_error(actual, desired) <= 1e-14
