"""Own primitives under every transformation, by a toy with a kernel; in the plain form where none is used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.derivatives import assert_derivatives
from tests.geometries import normal
from tests.kernels import toy
from tests.kernels.toy import ends, kernels_in, product

X, K = normal(0, 4, 3), normal(1, 4, 3)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Whether kernels are used here."""
    return toy.load()


def loss(x, k):
    return jnp.sum(jnp.sin(product(x, k)) * product(k, x))


def plain_loss(x, k):
    return jnp.sum(jnp.sin(x * k) * (k * x))


def agree(actual, desired):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6), actual, desired)


# Calls


def test_eager_and_jit(compiled):
    agree(product(X, K), X * K)
    agree(jax.jit(product)(X, K), X * K)
    with jax.disable_jit():
        agree(product(X, K), X * K)
    assert kernels_in(product, X, K) == int(compiled)


def test_several_results(compiled):
    agree(ends(X[:, 0]), (2 * X[0, 0], 2 * X[-1, 0]))
    agree(jax.jit(jax.vmap(ends, 1))(X), (2 * X[0], 2 * X[-1]))
    assert kernels_in(jax.vmap(ends, 1), X) == int(compiled)
    agree(jax.jvp(lambda x: ends(x, 3.0), (X[:, 0],), (X[:, 1],))[1], (3 * X[0, 1], 3 * X[-1, 1]))
    agree(jax.grad(lambda x: ends(x)[0] * ends(x)[1])(X[:, 0])[1:-1], np.zeros(2))


def test_other_types_take_the_plain_form(x64):
    x, k = X.astype(np.float64), K.astype(np.float64)
    assert kernels_in(product, x, k) == 0
    agree(jax.jit(product)(x, k), x * k)
    assert product(x, k).dtype == np.float64


def test_no_entries():
    assert jax.jit(product)(X[:0], K[:0]).shape == (0, 3)
    assert jax.vmap(product, (0, None))(np.zeros((0, 4, 3), np.float32), K).shape == (0, 4, 3)


# Lanes


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 0), (0, 1), (1, None), (None, 1)], ids=str)
def test_one_map(compiled, axes):
    x, k = [{None: x[0], 0: x, 1: x.T.copy()}[axis] for x, axis in zip((X, K), axes, strict=True)]
    desired = jax.vmap(lambda x, k: x * k, axes)(x, k)
    for form in (jax.vmap(product, axes), jax.jit(jax.vmap(product, axes))):
        agree(form(x, k), desired)
    assert kernels_in(jax.vmap(product, axes), x, k) == int(compiled)
    agree(jax.vmap(product, axes, out_axes=1)(x, k), desired.T)


NESTED = [
    ((0, None), (None, 0), (2, 5), (3, 5)),
    ((None, 0), (0, None), (3, 5), (2, 5)),
    ((0, 0), (None, 0), (2, 5), (2, 3, 5)),
    ((0, 0), (0, None), (2, 3, 5), (2, 5)),
    ((0, None), (0, 0), (2, 3, 5), (3, 5)),
    ((None, 0), (0, 0), (3, 5), (2, 3, 5)),
    ((0, 0), (0, 0), (2, 3, 5), (2, 3, 5)),
    ((1, 2), (1, 0), (5, 2, 3), (3, 5, 2)),
    ((0, None), (0, None), (2, 3, 5), (5,)),
]


@pytest.mark.parametrize(("outer", "inner", "x", "k"), NESTED, ids=str)
def test_maps_of_maps(compiled, outer, inner, x, k):
    x, k = normal(0, *x), normal(1, *k)
    both = jax.vmap(jax.vmap(product, inner), outer)
    desired = jax.vmap(jax.vmap(lambda x, k: x * k, inner), outer)
    agree(jax.jit(both)(x, k), desired(x, k))
    assert kernels_in(both, x, k) == int(compiled)


# Derivatives


def test_first_derivatives(compiled):
    agree(jax.grad(loss, (0, 1))(X, K), jax.grad(plain_loss, (0, 1))(X, K))
    agree(jax.jvp(loss, (X, K), (K, X)), jax.jvp(plain_loss, (X, K), (K, X)))
    agree(jax.jvp(lambda k: product(X, k), (K,), (X,)), (X * K, X * X))  # one tangent only
    assert kernels_in(jax.grad(loss), X, K) >= 4 * int(compiled)


def test_second_derivatives():
    def hvp(loss):
        return lambda x, k: jax.jvp(jax.grad(loss, (0, 1)), (x, k), (k, x))[1]

    agree(jax.jit(hvp(loss))(X, K), hvp(plain_loss)(X, K))
    agree(jax.grad(lambda x: jnp.sum(jax.grad(loss)(x, K) ** 2))(X),
          jax.grad(lambda x: jnp.sum(jax.grad(plain_loss)(x, K) ** 2))(X))  # fmt: skip
    hessian = jax.jit(jax.hessian(plain_loss))(X, K)
    agree(jax.jit(jax.hessian(loss))(X, K), hessian)
    agree(jax.jit(jax.jacrev(jax.jacfwd(loss)))(X, K), hessian)


def test_derivatives_by_differences(x64):
    assert_derivatives(loss, jnp.asarray(X, np.float64), jnp.asarray(K, np.float64))
    assert_derivatives(lambda x: jnp.tanh(jnp.stack(ends(x))), jnp.asarray(X[0], np.float64))


def test_linearized_and_transposed(compiled):
    _, along = jax.linearize(jax.grad(loss), X, K)
    _, plainly = jax.linearize(jax.grad(plain_loss), X, K)
    agree(along(K, X), plainly(K, X))
    (back,) = jax.linear_transpose(lambda x: product(x, K), X)(X)
    agree(back, X * K)


def test_derivatives_of_lanes():
    ks = np.stack([K, 2 * K, X])
    for axes, x in (((None, 0), X), ((0, 0), ks + 1)):
        mapped = jax.vmap(jax.grad(loss, (0, 1)), axes)
        agree(jax.jit(mapped)(x, ks), jax.vmap(jax.grad(plain_loss, (0, 1)), axes)(x, ks))
        total = jax.grad(lambda x, k, axes=axes: jnp.sum(jax.vmap(loss, axes)(x, k)), (0, 1))
        plainly = jax.grad(lambda x, k, axes=axes: jnp.sum(jax.vmap(plain_loss, axes)(x, k)), (0, 1))
        agree(jax.jit(total)(x, ks), plainly(x, ks))


# Programs


def test_loops(compiled):
    def scanned(loss):
        def step(x, k):
            return x - 0.1 * jax.grad(loss)(x, k), loss(x, k)

        return lambda x, ks: jax.lax.scan(step, x, ks)

    ks = np.stack([K, 2 * K, X])
    agree(jax.jit(scanned(loss))(X, ks), scanned(plain_loss)(X, ks))
    agree(
        jax.grad(lambda x: scanned(loss)(x, ks)[1].sum())(X), jax.grad(lambda x: scanned(plain_loss)(x, ks)[1].sum())(X)
    )
    assert kernels_in(scanned(loss), X, ks) > 0 or not compiled
    grown = jax.lax.while_loop(lambda x: jnp.sum(x) < 100, lambda x: product(x, 2 * jnp.ones_like(x)), jnp.ones(3))
    agree(grown, 64 * np.ones(3))
    agree(jax.lax.map(lambda k: product(X, k), ks), X * ks)
    agree(jax.jit(lambda x, k: jax.lax.cond(x[0, 0] > 9, product, lambda x, k: product(k, k), x, k))(X, K), K * K)


def test_checkpoint():
    agree(jax.jit(jax.grad(jax.checkpoint(loss), (0, 1)))(X, K), jax.grad(plain_loss, (0, 1))(X, K))


def test_compiled_ahead():
    program = jax.jit(jax.grad(loss)).lower(X, K).compile()
    agree(program(X, K), jax.grad(plain_loss)(X, K))
    assert jax.eval_shape(product, X, K) == jax.ShapeDtypeStruct((4, 3), np.float32)


def test_traced_once():
    traces = []

    @jax.jit
    def counted(x, k):
        traces.append(1)
        return product(x, k)

    for _ in range(2):
        counted(X, K)
    assert len(traces) == 1


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_platforms_take_the_stock_operation(platform):
    assert kernels_in(loss, X, K, platform=platform) == 0
    lowered = jax.jit(product).trace(X, K).lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.transpose" in lowered


def test_one_program_for_several_platforms(compiled):
    lowered = jax.jit(product).trace(X, K).lower(lowering_platforms=("cpu", "cuda")).as_text()
    assert lowered.count("custom_call @jax231_toy") == int(compiled)
    assert "stablehlo.transpose" in lowered


def test_exported_programs_hold_no_kernel():
    pytest.importorskip("flatbuffers")
    exported = jax.export.export(jax.jit(jax.grad(loss)))(X, K)
    assert "custom_call" not in exported.mlir_module()
    again = jax.export.deserialize(exported.serialize())
    agree(again.call(X, K), jax.grad(plain_loss)(X, K))
