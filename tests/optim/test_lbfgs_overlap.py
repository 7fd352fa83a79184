import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.core import tree
from jax231.optim.lbfgs_overlap import lbfgs_overlap, overlapping_batches
from tests.problems import quadratic

pytestmark = pytest.mark.usefixtures("x64")


def test_batches_begin_with_the_end_of_the_one_before():
    order = np.random.default_rng(0).permutation(23)
    batches = overlapping_batches(order, 6, 2)
    assert batches.shape == (5, 6)
    np.testing.assert_array_equal(batches[1:, :2], batches[:-1, -2:])
    np.testing.assert_array_equal(np.concatenate([batches[0, :2], batches[:, 2:].ravel()]), order[:22])
    np.testing.assert_array_equal(overlapping_batches(order, 6, 0).ravel(), order[:18])


@pytest.mark.parametrize(("size", "overlap"), [(6, 6), (6, -1), (24, 2)])
def test_batches_that_do_not_fit_are_refused(size, overlap):
    with pytest.raises(ValueError, match=r"overlapping_batches: expected 0 <= overlap < size <= n; got overlap="):
        overlapping_batches(np.arange(23), size, overlap)


def run(fun, overlap_fun, start, batches, rate, damping=0.0):
    """Parameters and states after a step on each of the batches; both losses are functions of parameters and batch."""

    def step(carry, batch):
        params, state = carry
        tx = lbfgs_overlap(rate, damping=damping, memory=8)
        grad = jax.grad(fun)(params, batch)
        updates, state = tx.update(grad, state, params, grad=grad, overlap_fn=lambda p: overlap_fun(p, batch))
        carry = optax.apply_updates(params, updates), state
        return carry, carry

    params = jax.tree.map(jnp.asarray, start)
    return jax.lax.scan(step, (params, lbfgs_overlap().init(params)), batches)[1]


def test_without_noise_the_pairs_are_those_of_the_hessian_and_it_converges():
    problem, dampings = quadratic(30.0), np.array([0.0, 0.5])
    matrix = np.asarray(jax.hessian(problem.fun)(jax.tree.map(jnp.asarray, problem.start))["x"]["x"])

    def fun(params, batch):
        return problem.fun(params) + 0.0 * batch

    lanes = jax.jit(jax.vmap(lambda rate, d: run(fun, fun, problem.start, jnp.zeros(40), rate, d), (None, 0)))
    points, states = lanes(0.5, dampings)
    for lane, damping in enumerate(dampings):
        steps, differences = states.memory.steps[lane, -1], states.memory.differences[lane, -1]
        np.testing.assert_allclose(differences, steps @ (matrix + damping * np.eye(6)), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(points["x"][0, -1], problem.minimiser["x"], atol=1e-5)
    np.testing.assert_array_equal(states.counts.gradient[0], 3 * np.arange(1, 41))
    np.testing.assert_allclose(np.linalg.norm(points["x"][0, 0] - problem.start["x"]), 0.5)


def test_pairs_formed_on_the_overlap_have_no_noise_of_sampling():
    """Least squares, where every example has a Hessian of its own: y is the overlap's Hessian times s exactly.

    In the difference of the two batches' own gradients, for a short step, there is little else than noise.
    """
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(400, 5)), 10 * rng.normal(size=400)
    batches = overlapping_batches(rng.permutation(400), 20, 5)

    def fun(params, batch):
        return 0.5 * jnp.mean((jnp.asarray(x)[batch] @ params["w"] - jnp.asarray(targets)[batch]) ** 2)

    def gradient(w, batch):
        return x[batch].T @ (x[batch] @ w - targets[batch]) / len(batch)

    start = {"w": np.zeros(5)}
    compiled = jax.jit(lambda rate: run(fun, lambda p, b: fun(p, b[:5]), start, jnp.asarray(batches), rate))
    points, states = jax.device_get(compiled(0.01))
    assert not states.stalled.any()
    errors = []
    for k in range(1, len(batches)):
        before, here = (points["w"][k - 2] if k > 1 else start["w"]), points["w"][k - 1]
        shared = x[batches[k, :5]]
        newest = states.memory.free[k] - 1
        step, difference = states.memory.steps[k, newest], states.memory.differences[k, newest]
        np.testing.assert_allclose(step, here - before, atol=1e-12)
        np.testing.assert_allclose(difference, shared.T @ shared @ step / 5, rtol=1e-8, atol=1e-12)
        last, now = gradient(before, batches[k - 1]), gradient(here, batches[k])
        curvature = x.T @ x @ step / 400
        errors.append([np.linalg.norm(y - curvature) / np.linalg.norm(curvature) for y in (difference, now - last)])
    shared, batchwise = np.median(errors, axis=0)
    assert shared < 1 < 5 < batchwise


def test_where_nothing_is_a_number_it_stays_and_says_so():
    tx, params = lbfgs_overlap(0.1), {"x": jnp.ones(2, jnp.bfloat16)}
    update = jax.jit(
        lambda grad, state: tx.update(grad, state, params, grad=grad, overlap_fn=lambda p: jnp.sum(p["x"]))
    )
    for number in (0.0, np.nan):
        updates, state = update({"x": jnp.full(2, number, jnp.bfloat16)}, tx.init(params))
        chex.assert_trees_all_equal(updates, tree.zeros_like(params))
        assert state.stalled
        assert jax.tree.map(jnp.result_type, state) == jax.tree.map(jnp.result_type, tx.init(params))


def test_what_is_missing_or_makes_no_sense_is_named():
    params = {"x": jnp.ones(2)}
    expected = r"lbfgs_overlap: expected update\(grads, state, params, grad=..., overlap_fn=...\); got missing="
    with pytest.raises(ValueError, match=expected + r"\['overlap_fn'\]"):
        lbfgs_overlap().update(params, lbfgs_overlap().init(params), params, grad=params)
    with pytest.raises(ValueError, match="lbfgs_overlap: expected a memory of at least one pair; got memory=0"):
        lbfgs_overlap(memory=0)
    with pytest.raises(ValueError, match="lbfgs_overlap: expected rate above 0; got rate=0"):
        lbfgs_overlap(0)
