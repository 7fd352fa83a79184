import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim.adam import adam
from jax231.optim.lbfgs import lbfgs
from jax231.optim.nesterov import nesterov_lookahead
from jax231.optim.on_subset import on_subset
from jax231.optim.paths import matching
from tests.trajectories import descent, small_net

METHODS = {
    "nesterov_lookahead": (nesterov_lookahead, 0.05),
    "lbfgs": (lbfgs, 0.0),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", METHODS)
def test_it_is_the_optimizer_on_the_restricted_objective(name):
    fun, start = small_net()
    builder, setting = METHODS[name]

    def restricted(output):
        return fun({"hidden": start["hidden"], "output": output})

    points, states = descent(lambda s: on_subset(builder(s), matching("output/*")), fun, 6)(start, setting)
    expected, inner = descent(builder, restricted, 6)(start["output"], setting)
    chex.assert_trees_all_close(points["output"], expected, rtol=1e-9)
    stood = jax.tree.map(lambda x: np.broadcast_to(x, (6, *np.shape(x))), start["hidden"])
    chex.assert_trees_all_equal(points["hidden"], stood)
    if name == "lbfgs":  # whose own state would hand on the gradient of the next step
        assert states.counts.gradient[-1] == inner.counts.gradient[-1] + 5
        assert not states.stalled.any()


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
