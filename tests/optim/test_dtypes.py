import chex
import jax
import jax.numpy as jnp
import optax

from jax231.optim.dtypes import keep_dtypes


def test_a_second_moment_moves_under_bfloat16():
    """In bfloat16 0.999 rounds to 1 and the average would never forget."""
    gradient = jnp.ones(1, jnp.bfloat16)
    tx = keep_dtypes(optax.scale_by_rms(decay=0.999, eps=0.0, initial_scale=4.0))
    state = tx.init(gradient)
    state = jax.lax.scan(lambda s, _: (tx.update(gradient, s)[1], None), state, length=1000)[0]
    expected = 1 + 3 * 0.999**1000
    chex.assert_trees_all_close(state.nu, jnp.float32([expected]), rtol=1e-3)


def test_nothing_is_cast_where_the_types_fit():
    params = {"w": jnp.ones(3)}
    tx, kept = optax.adam(0.1), keep_dtypes(optax.adam(0.1))
    plain = jax.make_jaxpr(tx.update)(params, tx.init(params))
    assert str(jax.make_jaxpr(kept.update)(params, kept.init(params))) == str(plain)


def test_weak_types_of_a_start_are_stripped():
    tx = optax.GradientTransformation(lambda _: jnp.asarray(1.0), lambda g, s, _=None: (g, s))
    assert tx.init(jnp.ones(2)).weak_type
    assert not keep_dtypes(tx).init(jnp.ones(2)).weak_type
