from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import one_function

X = np.linspace(-0.9, 0.9, 12, dtype=np.float32)
compiled = partial(jax.jit, compiler_options=dict(one_function.OPTIONS))


def program(x):
    """Something of each kind of operation, in a loop."""

    def body(_, x):
        y = x[::-1].reshape(3, 4)
        y = jnp.concatenate([y @ y.T, jnp.cumsum(y, 1)[:, :2]], 1).T + jnp.pad(y.T, ((0, 1), (0, 0)))
        y = jnp.where(jnp.isfinite(y) & (y > -0.1), jnp.tanh(y), jnp.arctan2(y, 2.0) ** 2)
        z = jax.lax.dynamic_update_index_in_dim(jnp.stack(list(y)), y.min(0), jnp.argmax(y[:, 0]), 0)
        z = jax.lax.cond(z.sum() > 0, jnp.sin, jnp.cos, z) + jax.scipy.special.erf(z) + jnp.expm1(-jnp.abs(z))
        total, _ = jax.lax.scan(lambda c, row: (c + row * c.max(), None), jnp.ones(3, z.dtype), z)
        picked = jnp.take(z.ravel(), jnp.array([1, 5, 2]), mode="clip")
        return x / 2 + jnp.repeat(total + picked, 4) / jnp.linalg.norm(total)

    return jax.lax.fori_loop(0, 5, body, x).astype(jnp.float32)


def test_one_function_computes_the_same():
    plain = jax.jit(program)
    assert one_function.fits(jax.make_jaxpr(plain)(X).jaxpr)
    whole = compiled(lambda x: one_function.mark(plain(x)))
    assert "xla_cpu_small_call" in whole.lower(X).as_text()
    np.testing.assert_allclose(whole(X), plain(X), rtol=1e-5)


@pytest.mark.parametrize(
    "fun",
    [
        jnp.sort,
        lambda x: x.at[jnp.array([1, 1])].add(x[:2]),
        lambda x: jax.lax.map(lambda y: jnp.fft.fft(x).real * y, x),
        lambda x: jnp.linalg.inv(jnp.outer(x, x) + jnp.eye(12)),
        lambda x: jax.lax.cond(x[0] > 0, jnp.sort, lambda x: x, x),
        lambda x: jnp.tile(x, 2000).sum(),
        lambda x: jnp.outer(jnp.tile(x, 3), x[:3]) @ jnp.ones((3, 999)),
    ],
)
def test_what_does_not_fit(fun):
    assert not one_function.fits(jax.make_jaxpr(jax.jit(fun))(X).jaxpr)


def test_the_top_is_outside_of_every_trace():
    def seen(x):
        tops.append(one_function.at_top())
        return x

    tops = [one_function.at_top()]
    jax.jit(seen)(1.0)
    jax.vmap(seen)(X)
    jax.grad(seen)(1.0)
    assert tops == [True, False, False, False]
