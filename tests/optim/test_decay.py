import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim import decay
from jax231.optim.adam import adam
from jax231.optim.adamw import adamw
from jax231.optim.lbfgs import lbfgs
from jax231.optim.momentum import momentum
from jax231.optim.paths import everything
from jax231.optim.schedules import inverse_time
from tests.replays import by_torch, hard_gradients, start
from tests.trajectories import replay

PARAMS = {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([3.0])}


def test_the_penalty_is_half_the_square_of_what_is_chosen():
    assert decay.penalty(PARAMS, 0.1) == np.float32(0.05 * 5)
    assert decay.penalty(PARAMS, 0.1, everything) == np.float32(0.05 * 14)
    grads = jax.grad(decay.penalty)(PARAMS, 0.1)
    chex.assert_trees_all_close(grads, {"kernel": 0.1 * PARAMS["kernel"], "bias": np.zeros(1)})


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("tx", "name", "options"),
    [(momentum(0.01), "SGD", {"momentum": 0.9}), (adam(0.01), "Adam", {})],
    ids=["momentum", "adam"],
)
def test_coupled_decay_is_that_of_pytorch(tx, name, options):
    gradients = hard_gradients()
    points = replay(decay.coupled(tx, 0.1, everything), start(gradients), gradients)
    expected = by_torch(name, gradients, 0.01, weight_decay=0.1, **options)
    chex.assert_trees_all_close(points, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.usefixtures("x64")
def test_decoupled_decay_of_adam_is_adamw_under_a_schedule_too():
    gradients = hard_gradients()
    for rate in (0.02, inverse_time(0.02, 0.1)):
        points = replay(decay.decoupled(adam(rate), rate, 0.1, everything), start(gradients), gradients)
        expected = replay(adamw(rate, weight_decay=0.1), start(gradients), gradients)
        chex.assert_trees_all_close(points, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_every_function_that_a_method_may_evaluate_has_the_penalty():
    seen = {}

    def update(updates, state, params=None, **extra):
        seen.update(extra, params=params, grads=updates)
        return updates, state

    tx = decay.coupled(optax.GradientTransformationExtraArgs(lambda p: (), update), 0.1)
    params = jax.tree.map(jnp.float64, PARAMS)

    def outputs(p):
        return p["kernel"] * p["bias"]

    def fun(p):
        return jnp.sum(outputs(p) ** 2)

    value, grads = jax.value_and_grad(fun)(params)
    tx.update(grads, tx.init(params), params, value=value, grad=grads, value_fn=fun, outputs_fn=outputs,
              per_example_fn=lambda p: jnp.stack([fun(p), fun(p)]),
              outputs_loss=lambda o: jnp.sum(o**2))  # fmt: skip
    total, slope = jax.value_and_grad(lambda p: fun(p) + decay.penalty(p, 0.1))(params)
    chex.assert_trees_all_close((seen["value"], seen["grad"], seen["grads"]), (total, slope, slope))
    chex.assert_trees_all_close(seen["value_fn"](params), total)
    chex.assert_trees_all_close(seen["per_example_fn"](params).mean(), total)
    chex.assert_trees_all_close(seen["outputs_loss"](seen["outputs_fn"](params)), total)


def test_wrong_uses_are_named():
    tx = decay.decoupled(lbfgs(), 0.1, 0.1)
    with pytest.raises(ValueError, match=r"decoupled: expected an optimizer that does not .*\(decay.coupled\)"):
        jax.eval_shape(
            lambda p: tx.update(p, tx.init(p), p, value=0.0, grad=p, value_fn=lambda p: p["bias"].sum()), PARAMS
        )
    for build in (lambda: decay.coupled(adam(0.1), -1.0), lambda: decay.decoupled(adam(0.1), 0.1, -1.0)):
        with pytest.raises(ValueError, match=r"coupled: expected strength of at least 0; got strength=-1.0"):
            build()
