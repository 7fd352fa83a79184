import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim.accumulate import accumulate
from jax231.optim.adam import adam
from jax231.optim.lbfgs import lbfgs
from jax231.optim.nesterov import nesterov_lookahead
from jax231.optim.newton_cg import newton_cg
from tests.trajectories import replay

K, STEPS = 3, 3
RNG = np.random.default_rng(4)
BATCHES = {"x": RNG.normal(size=(K, 5, 3)), "y": RNG.integers(0, 2, size=(K, 5))}
FIRST = jax.tree.map(lambda x: x[0], BATCHES)
START = {"w": RNG.normal(size=3), "b": np.zeros(())}


def loss(params, batch):
    """Of logistic regression, a little regularized."""
    margins = (2 * batch["y"] - 1) * (batch["x"] @ params["w"] + params["b"])
    return jnp.mean(jax.nn.softplus(-margins)) + 0.05 * params["w"] @ params["w"]


def mean_loss(params):
    return jnp.mean(jnp.stack([loss(params, jax.tree.map(lambda x, i=i: x[i], BATCHES)) for i in range(K)]))


def run(tx, calls, objective, batches=None):
    """Parameters after each call; where there are batches, each call gets the next."""

    def step(carry, i):
        params, state = carry
        more = {} if batches is None else {"batch": jax.tree.map(lambda x: x[i % K], batches)}
        value, grads = jax.value_and_grad(objective)(params, *more.values())
        updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=objective, **more)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    params = jax.tree.map(jnp.asarray, START)
    (_, state), points = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), jnp.arange(calls)))(params)
    return points, state


@pytest.mark.usefixtures("x64")
def test_a_step_is_that_of_the_mean_objective():
    """Of Newton-CG, which takes its value, gradient, curvature and line search from it."""
    batches = jax.tree.map(jnp.asarray, BATCHES)
    points, state = run(accumulate(newton_cg(0.01), K, FIRST), K * STEPS, loss, batches)
    expected, inner = run(newton_cg(0.01), STEPS, mean_loss)
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[K - 1 :: K], points), expected, rtol=1e-9, atol=1e-12)
    stays = jax.tree.map(lambda x: x[1::K] - x[0::K], points)  # no step between
    assert not any(np.any(x) for x in jax.tree.leaves(stays))
    chex.assert_trees_all_equal(state.counts, inner.counts)


@pytest.mark.usefixtures("x64")
def test_gradients_alone_are_enough_for_a_first_order_method():
    gradients = jnp.asarray(RNG.normal(size=(6, 4)))
    ours, peer = accumulate(adam(0.1), 3), optax.MultiSteps(optax.adam(0.1), 3).gradient_transformation()

    points, expected = (replay(tx, jnp.ones(4), gradients) for tx in (ours, peer))
    chex.assert_trees_all_close(points, expected, rtol=1e-7)  # Optax divides in float32


@pytest.mark.usefixtures("x64")
def test_the_pair_of_outputs_and_loss_is_over_all_batches():
    seen = []

    def outputs(params, batch):
        return batch["x"] @ params["w"] + params["b"], params["w"]

    def outputs_loss(outs, batch):
        return jnp.mean(jax.nn.softplus(-(2 * batch["y"] - 1) * outs[0])) + 0.05 * outs[1] @ outs[1]

    def observe(updates, state, params=None, **extra):
        jax.debug.callback(lambda *x: seen.append(x), *told(params, updates, **extra))
        return updates, state

    def told(params, updates, *, value_fn, outputs_fn, outputs_loss, value, grad):
        values = value_fn(params), outputs_loss(outputs_fn(params)), value, mean_loss(params)
        return *values, *(g["w"] for g in (jax.grad(value_fn)(params), grad, updates, jax.grad(mean_loss)(params)))

    tx = accumulate(optax.GradientTransformationExtraArgs(lambda p: (), observe), K, FIRST)
    params = jax.tree.map(jnp.asarray, START)

    @jax.jit
    def call(state, batch):
        value, grads = jax.value_and_grad(loss)(params, batch)
        given = {"value_fn": loss, "outputs_fn": outputs, "outputs_loss": outputs_loss}
        return tx.update(grads, state, params, value=value, grad=grads, batch=batch, **given)[1]

    state = tx.init(params)
    for i in range(K):
        state = call(state, jax.tree.map(lambda x, i=i: x[i], BATCHES))
    jax.effects_barrier()
    values, slopes = seen[0][:4], seen[0][4:]
    chex.assert_trees_all_close(values, (values[-1],) * 4, rtol=1e-12)
    chex.assert_trees_all_close(slopes, (slopes[-1],) * 4, rtol=1e-10)
    assert len(seen) == 1


def test_keys_are_part_of_a_batch():
    def noisy(params, batch):
        return jnp.sum((params + jax.random.normal(batch, (2,))) ** 2)

    @jax.jit
    def two_calls(x, keys):
        tx = accumulate(nesterov_lookahead(0.1, 0.0), 2, keys[0])
        state = tx.init(x)
        for key in keys:
            updates, state = tx.update(x, state, x, value_fn=noisy, batch=key)
        return updates, jnp.mean(jax.vmap(jax.grad(noisy), (None, 0))(x, keys), 0)

    updates, mean = two_calls(jnp.ones(2), jax.random.split(jax.random.key(0), 2))
    chex.assert_trees_all_close(updates, -0.1 * mean, rtol=1e-5)


def test_wrong_uses_are_named():
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="accumulate: expected at least one micro-batch a step; got batches=0"):
        accumulate(adam(0.1), 0)

    def call(example, **given):
        tx = accumulate(lbfgs(), 2, example)
        given = {"value": x.sum(), "grad": x, "value_fn": jnp.sum} | given
        jax.eval_shape(lambda x: tx.update(x, tx.init(x), x, **given), x)

    with pytest.raises(ValueError, match=r"accumulate: expected an optimizer that .*; give accumulate an example of"):
        call(None)
    with pytest.raises(
        ValueError, match=r"accumulate: expected batch= in update, like the example; got batch=\[\], ex"
    ):
        call(jnp.ones(3))
    with pytest.raises(ValueError, match="accumulate: expected an objective that returns the loss alone"):
        call(jnp.ones(3), batch=jnp.ones(3), value_fn=lambda p, batch: (p.sum(), batch))
    with pytest.raises(ValueError, match=r"accumulate: expected a loss that is one floating number; got loss=\(2,\)"):
        call(None, value=x)
    with pytest.raises(ValueError, match="accumulate: expected an optimizer without taps"):
        call(None, taps=len)
