import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim.adam import adam
from jax231.optim.newton_cg import newton_cg
from jax231.optim.on_subset import on_subset
from jax231.optim.paths import matching
from tests.trajectories import descent, small_net


@pytest.mark.usefixtures("x64")
def test_it_is_the_optimizer_on_the_restricted_objective():
    """Newton-CG, which takes its value, gradient, curvature and line search from it."""
    fun, start = small_net()

    def restricted(output):
        return fun({"hidden": start["hidden"], "output": output})

    points, states = descent(lambda s: on_subset(newton_cg(s), matching("output/*")), fun, 6)(start, 0.1)
    expected, inner = descent(newton_cg, restricted, 6)(start["output"], 0.1)
    chex.assert_trees_all_close(points["output"], expected, rtol=1e-9)
    stood = jax.tree.map(lambda x: np.broadcast_to(x, (6, *np.shape(x))), start["hidden"])
    chex.assert_trees_all_equal(points["hidden"], stood)
    chex.assert_trees_all_equal((states.counts, states.stalled), (inner.counts, inner.stalled))


def test_functions_of_the_parameters_are_restricted_and_put_back_together():
    seen = {}

    def update(updates, state, params=None, **extra):
        seen.update(extra, params=params)
        return updates, state

    tx = on_subset(optax.GradientTransformationExtraArgs(lambda p: (), update), matching("a"))
    params = {"a": jnp.ones(2), "b": jnp.full(3, 2.0)}
    grads = jax.tree.map(lambda x: 10 * x, params)
    updates, _ = tx.update(grads, tx.init(params), params, value=1.0, grad=grads,
                           value_fn=lambda p: p["a"].sum() + p["b"].sum(), outputs_fn=lambda p: p["b"] * p["a"][0],
                           outputs_loss=jnp.sum)  # fmt: skip
    chex.assert_trees_all_equal(updates, {"a": grads["a"], "b": jnp.zeros(3)})
    chex.assert_trees_all_equal(seen["params"], {"a": params["a"], "b": None})
    chex.assert_trees_all_equal(seen["grad"], {"a": grads["a"], "b": None})
    assert seen["value_fn"]({"a": jnp.zeros(2), "b": None}) == 6
    chex.assert_trees_all_equal(seen["outputs_fn"](seen["params"]), params["b"])


def test_wrong_uses_are_named():
    params = {"a": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"on_subset: expected at least one chosen parameter; got names=\['a'\]"):
        on_subset(adam(0.1), matching("b")).init(params)
    tx = on_subset(adam(0.1), matching("a"))
    with pytest.raises(ValueError, match=r"on_subset: expected an optimizer without taps; got given=\['taps'\]"):
        tx.update(params, tx.init(params), params, taps=len)
