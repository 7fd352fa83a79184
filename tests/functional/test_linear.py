import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional import affine, append_ones
from tests.derivatives import assert_derivatives, relative_error
from tests.geometries import normal


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_affine_is_its_definition(batch):
    x, weight, bias = normal(0, *batch, 4), normal(1, 4, 5), normal(2, 5)
    flat = x.reshape(-1, 4).astype(float)
    desired = [[sum(row[i] * weight[i, u] for i in range(4)) + bias[u] for u in range(5)] for row in flat]
    assert relative_error(jax.jit(affine)(x, weight, bias), np.reshape(desired, (*batch, 5))) <= 1e-6
    assert relative_error(affine(x, weight), np.reshape(desired, (*batch, 5)) - bias) <= 1e-6


def test_the_bias_is_the_weight_of_a_constant_input(x64):
    x, weight, bias = normal(0, 2, 3, 4, dtype=float), normal(1, 4, 5, dtype=float), normal(2, 5, dtype=float)
    trick = affine(append_ones(x), np.vstack([weight, bias]))
    assert relative_error(trick, affine(x, weight, bias)) <= 1e-15


def test_affine_derivatives(x64):
    args = [jnp.asarray(normal(i, *shape, dtype=float)) for i, shape in enumerate([(2, 3), (3, 4), (4,)])]
    assert_derivatives(lambda *args: jnp.tanh(affine(*args)), *args)


def test_affine_accumulates_bfloat16_in_float32():
    x, weight = jnp.ones((2, 1024), jnp.bfloat16), jnp.ones((1024, 1), jnp.bfloat16)
    y, back = jax.vjp(affine, x, weight)
    assert y.dtype == jnp.bfloat16
    assert (y == 1024).all()
    assert [g.dtype for g in back(y)] == [jnp.bfloat16] * 2
    hvp = jax.jvp(jax.grad(lambda w: (affine(x, w).astype(jnp.float32) ** 2).sum()), (weight,), (weight,))[1]
    assert hvp.dtype == jnp.bfloat16


def test_affine_names_what_does_not_fit():
    with pytest.raises(ValueError, match=r"affine: expected .*; got x=\(2, 3\), weight=\(4, 5\)"):
        affine(jnp.ones((2, 3)), jnp.ones((4, 5)))
    with pytest.raises(ValueError, match=r"affine: expected weight with 2 axes \(d units\); got weight=\(4,\)"):
        affine(jnp.ones((2, 4)), jnp.ones(4))
    for shape in [(1,), (2, 5), (5, 1)]:
        with pytest.raises(ValueError, match=r"affine: expected bias \(units,\)"):
            affine(jnp.ones((2, 4)), jnp.ones((4, 5)), jnp.ones(shape))
    with pytest.raises(ValueError, match="append_ones: expected x"):
        append_ones(jnp.ones(()))
