import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from jax231.functional import conv1d, conv2d, conv2d_transpose
from tests import references
from tests.derivatives import assert_derivatives, relative_error
from tests.geometries import convolutions, ends_of, normal


def options(drawn):
    return {name: getattr(drawn, name) for name in ("stride", "padding", "dilation", "groups")}


@settings(max_examples=15)
@given(convolutions())
def test_conv2d_is_its_definition(drawn):
    g = drawn.groups
    x, kernel, bias = normal(0, 2, *drawn.size, 2 * g), normal(1, *drawn.window, 2, 3 * g), normal(2, 3 * g)
    desired = references.conv2d(x, kernel, drawn.stride, drawn.ends, drawn.dilation, g) + bias
    actual = jax.jit(functools.partial(conv2d, **options(drawn)))(x, kernel, bias)
    assert relative_error(actual, desired) <= 1e-6


@settings(max_examples=15)
@given(convolutions())
def test_conv2d_transpose_is_the_transpose(drawn):
    g = drawn.groups
    with jax.enable_x64(True):
        u, kernel = normal(0, 2, *drawn.size, 2 * g, dtype=float), normal(1, *drawn.window, 2, 3 * g, dtype=float)
        forward = jax.jit(functools.partial(conv2d, **options(drawn)))(u, kernel)
        v = normal(2, *forward.shape, dtype=float)
        backward = jax.jit(functools.partial(conv2d_transpose, output_size=drawn.size, **options(drawn)))(v, kernel)
    assert backward.shape == u.shape
    left, right = np.vdot(forward, v), np.vdot(u, backward)
    assert abs(left - right) <= 1e-12 * (np.linalg.norm(forward) * np.linalg.norm(v) + 1e-300)


@pytest.mark.parametrize("padding", ["SAME", "VALID", 1, ((1, 0), (0, 2))])
def test_conv2d_transpose_default_size_maps_back(padding):
    v, kernel = normal(0, 2, 3, 4, 5), normal(1, 3, 4, 2, 5)
    y = conv2d_transpose(v, kernel, jnp.zeros(2), stride=(2, 3), padding=padding)
    assert conv2d(y, kernel, stride=(2, 3), padding=padding).shape == v.shape
    size = y.shape[1:3]
    if padding == "SAME":
        assert size == (6, 12)
    else:
        smaller = [(size[0] - 1, size[1]), (size[0], size[1] - 1)]
        for less in smaller:
            with pytest.raises(ValueError, match="an output_size that conv2d maps to the size of x"):
                conv2d_transpose(v, kernel, stride=(2, 3), padding=padding, output_size=less)
    ends = ends_of(size, (3, 4), (2, 3), padding, (1, 1))
    assert relative_error(y, references.conv2d_transpose(v, kernel, size, (2, 3), ends)) <= 1e-6


@pytest.mark.parametrize("groups", [1, 2])
def test_derivatives(groups, x64):
    draw = functools.partial(normal, dtype=float)
    x, kernel, bias = map(jnp.asarray, (draw(0, 1, 3, 4, 2), draw(1, 2, 2, 2 // groups, 2), draw(2, 2)))
    layer = functools.partial(conv2d, stride=(1, 2), groups=groups)
    back = functools.partial(conv2d_transpose, stride=(1, 2), groups=groups)
    assert_derivatives(lambda *args: jnp.tanh(back(jnp.tanh(layer(*args)), args[1])), x, kernel, bias)


@pytest.mark.parametrize("padding", ["SAME", "VALID", 1, (2, 0)])
def test_conv1d_is_conv2d_of_one_row(padding):
    x, kernel = normal(0, 2, 7, 3), normal(1, 2, 3, 4)
    ends = {"SAME": (0, 1), "VALID": (0, 0), 1: (1, 1)}.get(padding, padding)
    ends = (1, 1) if padding == "SAME" else ends  # two taps, dilation 2: an extent of 3
    desired = references.conv2d(x[:, None], kernel[None], (1, 1), ((0, 0), ends), (1, 2))[:, 0]
    assert relative_error(conv1d(x, kernel, padding=padding, dilation=2), desired) <= 1e-6


def test_a_causal_convolution_sees_no_future():
    jacobian = jax.jacfwd(lambda x: conv1d(x[None, :, None], jnp.ones((3, 1, 1)), padding=(2, 0))[0, :, 0])(jnp.ones(5))
    chex.assert_trees_all_equal(jacobian, jnp.tril(jacobian))


def test_works_in_scan_and_under_vmap_over_kernels():
    x, kernels = normal(0, 2, 4, 4, 2), normal(1, 3, 3, 3, 2, 2)
    one_by_one = jnp.stack([conv2d(x, kernel) for kernel in kernels])
    chex.assert_trees_all_close(jax.vmap(conv2d, (None, 0))(x, kernels), one_by_one, rtol=1e-5, atol=1e-6)
    last, _ = jax.jit(lambda x, ks: jax.lax.scan(lambda x, k: (conv2d(x, k), None), x, ks))(x, kernels)
    chex.assert_trees_all_close(last, functools.reduce(conv2d, kernels, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_bfloat16_has_gradients(groups):
    x, kernel = jnp.ones((1, 4, 4, 4), jnp.bfloat16), jnp.ones((3, 3, 4 // groups, 2), jnp.bfloat16)
    for layer, y in [(conv2d, x), (conv2d_transpose, x[..., :2])]:
        f = functools.partial(layer, groups=groups)
        assert f(y, kernel).dtype == jnp.bfloat16
        gradient = jax.grad(lambda y, kernel, f=f: (f(y, kernel).astype(jnp.float32) ** 2).sum(), (0, 1))
        wide = gradient(y.astype(jnp.float32), kernel.astype(jnp.float32))
        for narrow, exact in zip(gradient(y, kernel), wide, strict=True):
            assert narrow.dtype == jnp.bfloat16
            assert relative_error(narrow, exact) <= 1e-2


X, KERNEL = jnp.ones((2, 5, 5, 4)), jnp.ones((3, 3, 4, 6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv2d(X[0], KERNEL), r"conv2d: expected x with 4 axes \(n h w c\); got x=\(5, 5, 4\)"),
        (lambda: conv2d(X, KERNEL[0]), r"conv2d: expected kernel with 4 axes"),
        (lambda: conv2d(X[..., :3], KERNEL), r"conv2d: expected x with groups \* cin .*; got x=\(2, 5, 5, 3\)"),
        (lambda: conv2d(X, KERNEL[:, :, :1], groups=4), "groups of at least 1 that divide"),
        (lambda: conv2d(X, KERNEL, groups=0), "groups of at least 1"),
        (lambda: conv2d(X, KERNEL, stride=0), "conv2d: expected stride as an integer of at least 1"),
        (lambda: conv2d(X, KERNEL, stride=(1, 1, 1)), "conv2d: expected stride as an integer .* or two"),
        (lambda: conv2d(X, KERNEL, dilation=3, padding=0), "conv2d: expected a window that fits"),
        (lambda: conv2d(X, KERNEL, padding="FULL"), "conv2d: expected padding as"),
        (lambda: conv2d(X, KERNEL, padding=(1, 1)), r"conv2d: expected padding of an image as \(\(top, bottom\)"),
        (lambda: conv2d(X, KERNEL, jnp.ones((6, 1))), r"conv2d: expected bias .*; got bias=\(6, 1\)"),
        (lambda: conv1d(X, KERNEL), r"conv1d: expected x with 3 axes"),
        (lambda: conv2d_transpose(X, KERNEL), r"conv2d_transpose: expected x \(n, h, w, in\), kernel"),
        (lambda: conv2d_transpose(X, KERNEL[..., :4], output_size=6), r"conv2d_transpose: expected an output_size"),
    ],
)
def test_errors_say_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_agrees_with_torch():
    torch = pytest.importorskip("torch")
    x, kernel = normal(0, 2, 6, 7, 4), normal(1, 3, 2, 2, 6)
    image, filters = torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(kernel).permute(3, 2, 0, 1)
    how = {"stride": 2, "padding": 1, "dilation": (2, 1), "groups": 2}
    theirs = torch.nn.functional.conv2d(image, filters, **how)
    ours = conv2d(x, kernel, **how)
    assert relative_error(ours, theirs.permute(0, 2, 3, 1).numpy()) <= 1e-6
    back = torch.nn.functional.conv_transpose2d(theirs, filters, **how).permute(0, 2, 3, 1).numpy()
    assert relative_error(conv2d_transpose(ours, kernel, **how), back) <= 1e-6
