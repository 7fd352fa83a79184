"""The convolution family under every transformation, against JAX's own convolution in float64."""

import hashlib
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from jax231.functional import conv2d, conv2d_transpose
from jax231.kernels import native
from jax231.kernels.convolution_plain import stock_image, stock_output
from jax231.kernels.geometry import Geometry
from tests.derivatives import assert_derivatives, relative_error
from tests.geometries import convolutions, normal

NAMES = ("stride", "padding", "dilation", "groups")


def family(geometry):
    """Convolution and its transpose in one function of image and kernel, with every map in its derivatives."""
    options = {name: getattr(geometry, name) for name in NAMES}

    def both(x, kernel):
        y = conv2d(x, kernel, **options)
        return y, conv2d_transpose(jnp.sin(y), kernel, output_size=geometry.size, **options)

    return both


def stock(geometry):
    def both(x, kernel):
        y = stock_output(x, kernel, geometry)
        return y, stock_image(jnp.sin(y), kernel, geometry)

    return both


def loss(both):
    def value(x, kernel):
        y, image = both(x, kernel)
        return jnp.sum(jnp.cos(y)) + jnp.sum(jnp.sin(image) * x)

    return value


def hvp(value, x, kernel, directions):
    return jax.jvp(jax.grad(value, (0, 1)), (x, kernel), directions)[1]


def arrays(geometry, cin=2, cout=2, dtype=np.float64, lanes=()):
    x = normal(0, *lanes, 2, *geometry.size, geometry.groups * cin, dtype=dtype)
    return jnp.asarray(x), jnp.asarray(normal(1, *lanes, *geometry.window, cin, geometry.groups * cout, dtype=dtype))


def agree(actual, desired, tolerance=1e-12):
    for a, d in zip(jax.tree.leaves(actual), jax.tree.leaves(desired), strict=True):
        assert relative_error(a, d) <= tolerance


STRIDED = Geometry((5, 4), (3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2))
PINNED = {
    "3x3": Geometry((4, 5), (3, 3), padding=((1, 1), (1, 1))),
    "depthwise": Geometry((4, 5), (3, 3), (2, 2), ((1, 1), (1, 1)), groups=3),
}


def channels(geometry):
    return (1, 2) if geometry.groups == 3 else (2, 2)


# Derivatives


def derivatives(value):
    """Every way to first and second derivatives."""

    @jax.jit
    def all_ways(x, kernel, directions):
        first = jax.grad(value, (0, 1))
        along = jax.jvp(value, (x, kernel), directions)[1]
        forward_over_reverse = hvp(value, x, kernel, directions)
        reverse_over_reverse = jax.grad(lambda *at: sum(map(jnp.vdot, first(*at), directions)), (0, 1))(x, kernel)
        return first(x, kernel), along, forward_over_reverse, reverse_over_reverse

    return all_ways


@settings(max_examples=3)
@given(convolutions())
def test_derivatives_of_any_geometry(drawn):
    geometry = Geometry(drawn.size, drawn.window, drawn.stride, drawn.ends, drawn.dilation, drawn.groups)
    with jax.enable_x64(True):
        x, kernel = arrays(geometry)
        at = x, kernel, (x[::-1] + 1, kernel[::-1] - 1)
        agree(derivatives(loss(family(geometry)))(*at), derivatives(loss(stock(geometry)))(*at), 1e-11)


@pytest.mark.parametrize("geometry", [STRIDED, PINNED["depthwise"]], ids=["one group", "depthwise"])
def test_derivatives_by_differences(geometry, x64):
    x, kernel = arrays(geometry, *channels(geometry))
    assert_derivatives(family(geometry), x[:1], kernel)


def test_jacobians(x64):
    x, kernel = arrays(Geometry((3, 3), (2, 2)))
    ours, theirs = family(Geometry((3, 3), (2, 2))), stock(Geometry((3, 3), (2, 2)))
    desired = jax.jit(jax.jacrev(theirs, (0, 1)))(x, kernel)
    for jacobian in (jax.jacrev, jax.jacfwd):
        agree(jax.jit(jacobian(ours, (0, 1)))(x, kernel), desired)


def test_third_derivatives(x64):
    x, kernel = arrays(STRIDED)

    def third(both):
        value = loss(both)
        return jax.jit(jax.grad(lambda k: jnp.sum(jnp.square(hvp(value, x, k, (x, kernel))[1]))))(kernel)

    agree(third(family(STRIDED)), third(stock(STRIDED)), 1e-10)


def test_linearized_transposed_checkpointed(x64):
    x, kernel = arrays(STRIDED)
    value, plainly = loss(family(STRIDED)), loss(stock(STRIDED))
    _, along = jax.linearize(jax.grad(value, (0, 1)), x, kernel)
    agree(jax.jit(along)(2 * x, kernel), hvp(plainly, x, kernel, (2 * x, kernel)))
    desired = jax.jit(jax.grad(plainly, (0, 1)))(x, kernel)
    agree(jax.jit(jax.grad(jax.checkpoint(value), (0, 1)))(x, kernel), desired)
    y = stock_output(x, kernel, STRIDED)
    (back,) = jax.linear_transpose(lambda x: family(STRIDED)(x, kernel)[0], x)(y)
    agree(back, stock_image(y, kernel, STRIDED))


# Lanes

AXES = {
    "images": (0, None),
    "kernels": (None, 0),
    "both": (0, 0),
    "another axis": (2, 1),
}


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
@pytest.mark.parametrize("geometry", [STRIDED, PINNED["depthwise"]], ids=["one group", "depthwise"])
def test_lanes(geometry, axes, x64):
    x, kernel = arrays(geometry, *channels(geometry))
    many = arrays(geometry, *channels(geometry), lanes=(3,))
    x, kernel = [
        a if axis is None else jnp.moveaxis(lanes, 0, axis)
        for a, lanes, axis in zip((x, kernel), many, axes, strict=True)
    ]

    def mapped(both):
        """Of each lane by itself, and of their sum, where what has no lanes collects from all."""
        value = jax.vmap(loss(both), axes)
        total = jax.grad(lambda *at: jnp.sum(value(*at)), (0, 1))
        each = jax.vmap(jax.grad(loss(both), (0, 1)), axes)
        return jax.jit(lambda x, k: (each(x, k), total(x, k), jax.jvp(total, (x, k), (2 * x, k))[1]))(x, kernel)

    agree(mapped(family(geometry)), mapped(stock(geometry)), 1e-11)


NESTED = {
    "images, kernels": ((0, None), (None, 0), (3,), (4,)),
    "kernels, images": ((None, 0), (0, None), (4,), (3,)),
    "both, kernels": ((0, 0), (None, 0), (3,), (3, 4)),
    "both, both": ((0, 0), (0, 0), (3, 4), (3, 4)),
}


@pytest.mark.parametrize(("outer", "inner", "of_x", "of_kernel"), NESTED.values(), ids=NESTED)
def test_lanes_of_lanes(outer, inner, of_x, of_kernel):
    x = arrays(STRIDED, dtype=np.float32, lanes=of_x)[0]
    kernel = arrays(STRIDED, dtype=np.float32, lanes=of_kernel)[1]

    def mapped(both):
        gradient = jax.grad(lambda x, k: jnp.sum(jnp.square(both(x, k)[0])), (0, 1))
        return jax.jit(jax.vmap(jax.vmap(gradient, inner), outer))(x, kernel)

    agree(mapped(family(STRIDED)), mapped(stock(STRIDED)), 1e-5)


def test_no_map_makes_a_grouped_convolution():
    """XLA is slow at those."""
    x, kernel = arrays(PINNED["3x3"], dtype=np.float32, lanes=(3,))
    for axes in ((None, 0), (0, 0)):
        gradient = jax.vmap(jax.grad(loss(family(PINNED["3x3"])), (0, 1)), axes)
        text = jax.jit(gradient).lower(x[0] if axes[0] is None else x, kernel).as_text()
        assert "feature_group_count = 3" not in text
        assert "batch_group_count = 3" not in text


# Programs


def test_a_training_loop(x64):
    x, kernel = arrays(PINNED["3x3"])

    def trained(both):
        step = jax.value_and_grad(loss(both), 1)

        @jax.jit
        def run(kernel):
            def descend(kernel, scale):
                value, gradient = step(scale * x, kernel)
                return kernel - 0.01 * gradient, value

            return jax.lax.scan(descend, kernel, jnp.linspace(1.0, 0.5, 4))

        return run(kernel), jax.jit(jax.grad(lambda k: run(k)[1].sum()))(kernel)

    agree(trained(family(PINNED["3x3"])), trained(stock(PINNED["3x3"])), 1e-10)


def test_ahead_of_time_and_eager():
    x, kernel = arrays(STRIDED, dtype=np.float32)
    gradient = jax.grad(loss(family(STRIDED)), (0, 1))
    program = jax.jit(gradient).lower(x, kernel).compile()
    agree(program(x, kernel), jax.jit(jax.grad(loss(stock(STRIDED)), (0, 1)))(x, kernel), 1e-5)
    agree(gradient(x, kernel), program(x, kernel), 1e-6)


def test_exported():
    pytest.importorskip("flatbuffers")
    x, kernel = arrays(STRIDED, dtype=np.float32)
    exported = jax.export.export(jax.jit(jax.grad(loss(family(STRIDED)), (0, 1))))(x, kernel)
    assert "custom_call" not in exported.mlir_module()
    again = jax.export.deserialize(exported.serialize())
    agree(again.call(x, kernel), jax.jit(jax.grad(loss(stock(STRIDED)), (0, 1)))(x, kernel), 1e-5)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_take_the_stock_convolution(platform):
    x, kernel = arrays(STRIDED, dtype=np.float32)

    def gradient(x, kernel):
        return jax.grad(lambda x, k: jnp.sum(jnp.square(family(STRIDED)(x, k)[0])), (0, 1))(x, kernel)

    text = jax.jit(gradient).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution") == 3
    assert "custom_call" not in text
    assert "while" not in text


# Numbers


def test_narrow_types_accumulate_in_float32():
    x, kernel = jnp.ones((1, 1, 1, 1024), jnp.bfloat16), jnp.ones((1, 1, 1024, 1), jnp.bfloat16)
    for groups in (1, 2):
        y = conv2d(x.repeat(groups, -1), kernel.repeat(groups, -1), groups=groups)
        assert y.dtype == jnp.bfloat16
        assert np.all(np.asarray(y, np.float32) == 1024)  # counted in bfloat16, 256 + 1 is 256


def test_derivatives_in_bfloat16():
    x, kernel = [a.astype(jnp.bfloat16) for a in arrays(STRIDED, dtype=np.float32)]
    value, plainly = [loss(form(STRIDED)) for form in (family, stock)]
    actual = jax.jit(lambda x, k: hvp(value, x, k, (x, k)))(x, kernel)
    assert all(a.dtype == jnp.bfloat16 for a in actual)
    wide = [a.astype(jnp.float32) for a in (x, kernel)]
    agree(actual, jax.jit(lambda x, k: hvp(plainly, x, k, (x, k)))(*wide), 0.05)


def digest() -> str:
    """Of the bits of values and derivatives, with enough work for several threads."""
    seen = hashlib.sha256()
    for geometry, cin, cout in (
        (Geometry((20, 20), (3, 3), padding=((1, 1), (1, 1))), 8, 16),
        (Geometry((16, 16), (3, 3), (2, 2), ((0, 1), (0, 1)), groups=32), 1, 1),
    ):
        x, kernel = arrays(geometry, cin, cout, np.float32, lanes=(4,))
        x = x.reshape(8, *x.shape[2:]).repeat(4, 0)
        for bits in jax.jit(jax.grad(loss(family(geometry)), (0, 1)))(x, kernel[0]):
            seen.update(np.asarray(bits))
    return seen.hexdigest()


def test_the_same_bits_from_run_to_run_and_on_any_number_of_threads():
    script = "from tests.kernels.test_convolution import digest; print(digest())"
    everywhere = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    assert digest() == digest()
    if not native.active() or len(everywhere) < 2:  # XLA cuts the work of its matrix products by threads
        return
    alone = f"import os; os.sched_setaffinity(0, {everywhere[:1]}); {script}"
    done = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == digest()


@pytest.mark.parametrize(("window", "channels"), [(11, (23, 16)), (31, (3, 2))])
def test_kernel_gradients_that_no_cut_makes_small(window, channels):
    cin, cout = channels
    x = jax.random.normal(jax.random.key(0), (1, 12, 12, cin))
    y, back = jax.vjp(lambda kernel: conv2d(x, kernel), jnp.zeros((window, window, cin, cout)))
    cotangent = jax.random.normal(jax.random.key(1), y.shape)
    reach = window // 2
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    places = np.lib.stride_tricks.sliding_window_view(padded, (12, 12), (1, 2))
    expected = np.einsum("nabcij,nijo->abco", places, np.asarray(cotangent, np.float64))
    assert relative_error(back(cotangent)[0], expected) < 1e-6
