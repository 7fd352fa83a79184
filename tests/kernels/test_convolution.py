import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from jax231.kernels import convolution
from jax231.kernels.convolution import Geometry, by_lax, by_patches, transposed_by_lax, transposed_by_patches
from tests import references
from tests.derivatives import assert_derivatives, relative_error
from tests.geometries import convolutions, normal


@settings(max_examples=12)
@given(convolutions(groups=False))
def test_both_forms_are_the_definition(drawn):
    x, kernel = normal(0, 2, *drawn.size, 3), normal(1, *drawn.window, 3, 4)
    geometry = Geometry(drawn.stride, drawn.ends, drawn.dilation)
    desired = references.conv2d(x, kernel, *geometry)
    assert desired.shape[1:3] == geometry.output_size(drawn.size, drawn.window)
    for form in (by_patches, by_lax):
        assert relative_error(jax.jit(form, static_argnums=2)(x, kernel, geometry), desired) <= 1e-6


@settings(max_examples=12)
@given(convolutions(groups=False))
def test_both_transposes_are_the_definition(drawn):
    geometry = Geometry(drawn.stride, drawn.ends, drawn.dilation)
    y = normal(0, 2, *geometry.output_size(drawn.size, drawn.window), 4)
    kernel = normal(1, *drawn.window, 3, 4)
    desired = references.conv2d_transpose(y, kernel, drawn.size, *geometry)
    for form in (transposed_by_patches, transposed_by_lax):
        actual = jax.jit(form, static_argnums=(2, 3))(y, kernel, geometry, drawn.size)
        assert relative_error(actual, desired) <= 1e-6


STRIDED = Geometry((2, 1), ((1, 0), (0, 2)), (1, 2))


@pytest.mark.parametrize("form", [by_patches, by_lax])
def test_derivatives_of_the_forms(form, x64):
    x, kernel = jnp.asarray(normal(0, 1, 4, 4, 2, dtype=float)), jnp.asarray(normal(1, 2, 2, 2, 2, dtype=float))
    assert_derivatives(lambda x, kernel: jnp.tanh(form(x, kernel, STRIDED)), x, kernel)


@pytest.mark.parametrize("form", [transposed_by_patches, transposed_by_lax])
def test_derivatives_of_the_transposes(form, x64):
    y = jnp.asarray(normal(0, 1, 2, 4, 2, dtype=float))
    kernel = jnp.asarray(normal(1, 2, 2, 2, 2, dtype=float))
    assert_derivatives(lambda y, kernel: jnp.tanh(form(y, kernel, STRIDED, (4, 4))), y, kernel)


def operations(f, *args) -> str:
    return str(jax.make_jaxpr(f)(*args))


def test_the_form_follows_the_shape(monkeypatch):
    x, kernel = jnp.ones((2, 4, 4, 4)), jnp.ones((3, 3, 4, 4))

    def form(groups=1, kernel=kernel):
        text = operations(lambda x, k: convolution.convolve(x, k, Geometry(groups=groups)), x, kernel)
        return "lax" if "conv_general_dilated" in text else "patches"

    assert form() == "patches"
    assert form(groups=2, kernel=kernel[:, :, :2]) == "lax"
    entries = 2 * (2 * 2) * (3 * 3 * 4)
    monkeypatch.setattr(convolution, "PATCH_LIMIT", entries)
    assert form() == "patches"
    monkeypatch.setattr(convolution, "PATCH_LIMIT", entries - 1)
    assert form() == "lax"
    monkeypatch.setattr(convolution, "PATCH_LIMIT", 2**26)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert form() == "lax"


def test_no_derivative_of_patches_and_no_vmap_makes_a_convolution():
    """XLA's own would run slowly inside loops, and as a grouped one under a vmap over kernels."""
    x, kernels = jnp.ones((2, 5, 5, 3)), jnp.ones((4, 3, 3, 3, 2))

    def loss(x, kernel):
        y = convolution.convolve(x, kernel, Geometry((2, 2)))
        return jnp.sum(convolution.convolve_transposed(y, kernel, Geometry((2, 2)), (5, 5)) ** 3)

    def hvp(x, kernel):
        return jax.jvp(jax.grad(loss, (0, 1)), (x, kernel), (x, kernel))

    assert "conv_general_dilated" not in operations(jax.vmap(hvp, (None, 0)), x, kernels)


def test_narrow_types_accumulate_in_float32():
    x, kernel = jnp.ones((1, 1, 1, 1024), jnp.bfloat16), jnp.ones((1, 1, 1024, 1), jnp.bfloat16)
    for groups in (1, 2):
        y = convolution.convolve(x.repeat(groups, -1), kernel.repeat(groups, -1), Geometry(groups=groups))
        assert y.dtype == jnp.bfloat16
        assert np.all(np.asarray(y, np.float32) == 1024)  # counted in bfloat16, 256 + 1 is 256
