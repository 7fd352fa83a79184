import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim import clip
from jax231.optim.lbfgs import lbfgs
from jax231.optim.momentum import momentum

GRADS = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[-4.0]])}


def test_clipping_is_that_of_optax_and_tells_the_norm_before():
    by_norm, by_value = jax.jit(clip.by_norm), jax.jit(clip.by_value)
    for limit in (2.0, 5.0, 10.0):
        limited, norm = by_norm(GRADS, limit)
        chex.assert_trees_all_close(limited, optax.clip_by_global_norm(limit).update(GRADS, optax.EmptyState())[0])
        assert norm == 5
        limited, norm = by_value(GRADS, limit)
        chex.assert_trees_all_close(limited, jax.tree.map(lambda g, limit=limit: np.clip(g, -limit, limit), GRADS))
        assert norm == 5


def test_types_are_kept_and_zero_stays_zero():
    zeros = jax.tree.map(lambda g: jnp.zeros(g.shape, jnp.bfloat16), GRADS)
    for by in (clip.by_norm, clip.by_value):
        limited, norm = jax.jit(by)(zeros, 1.0)
        chex.assert_trees_all_equal(limited, zeros)
        chex.assert_trees_all_equal_dtypes(limited, zeros)
        assert norm.dtype == jnp.float32


def test_a_clipped_optimizer_sees_the_clipped_gradient_and_keeps_the_norm():
    tx, plain = clip.clipped(momentum(0.1), 2.0), momentum(0.1)
    updates, state = tx.update(GRADS, tx.init(GRADS), GRADS)
    expected, _ = plain.update(clip.by_norm(GRADS, 2.0).grads, plain.init(GRADS), GRADS)
    chex.assert_trees_all_close(updates, expected)
    assert state.own == 5


def test_wrong_uses_are_named():
    x = jnp.ones(2)
    tx = clip.clipped(lbfgs(), 1.0)
    with pytest.raises(
        ValueError, match="clipped: expected an optimizer that does not evaluate the objective; second-"
    ):
        jax.eval_shape(lambda x: tx.update(x, tx.init(x), x, value=x.sum(), grad=x, value_fn=jnp.sum), x)
    with pytest.raises(ValueError, match=r"clip.by_norm: expected limit above 0; got limit=0.0"):
        clip.by_norm(x, 0.0)
    with pytest.raises(ValueError, match=r"clip.by_value: expected limit above 0; got limit=-1.0"):
        clip.by_value(x, -1.0)
