import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jax231.core import tree
from jax231.optim.sr1 import learn, sr1, update_matrix
from tests.problems import quadratic, rosenbrock
from tests.trajectories import descent

pytestmark = pytest.mark.usefixtures("x64")
update = jax.jit(update_matrix)
STEPS = 60


def symmetric(*eigenvalues):
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    return basis @ np.diag(eigenvalues) @ basis.T


HESSIANS = {
    "convex": symmetric(1.0, 2.0, 3.0, 5.0, 8.0, 13.0),
    "indefinite": symmetric(-4.0, -1.0, 3.0, 5.0, 8.0, 13.0),
}


@pytest.mark.parametrize("name", HESSIANS)
def test_independent_steps_of_any_length_teach_it_a_quadratic(name):
    """Nocedal & Wright 2006, theorem 6.1; every earlier pair still fits (the hereditary property)."""
    hessian, steps = HESSIANS[name], np.random.default_rng(1).normal(size=(6, 6))
    matrix = np.eye(6)
    for k, step in enumerate(steps):
        matrix = np.asarray(update(matrix, step, hessian @ step))
        np.testing.assert_allclose(matrix @ steps[: k + 1].T, hessian @ steps[: k + 1].T, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(matrix, hessian, rtol=1e-8, atol=1e-8)


def test_the_update_and_that_of_the_inverse_have_rank_one():
    before, step = HESSIANS["convex"], np.arange(1.0, 7.0)
    after = np.asarray(update(before, step, HESSIANS["indefinite"] @ step))
    for change in (after - before, np.linalg.inv(after) - np.linalg.inv(before)):
        assert np.linalg.matrix_rank(change, tol=1e-9 * np.linalg.norm(change)) == 1


@pytest.mark.parametrize("error", [0.0, 1e-10, 1.0, np.nan])
def test_a_change_that_would_be_huge_is_left_out(error):
    """The error is at right angles to the step, but for as much as rounding makes."""
    before, step = HESSIANS["convex"], np.array([1.0, 1.0, 0, 0, 0, 0])
    off = error * np.array([1.0, -1.0, 1e-12, 0, 0, 0])
    np.testing.assert_allclose(update(before, step, before @ step + off), before, rtol=1e-12)


def test_the_first_pair_scales_the_identity():
    step, difference = np.array([3.0, 4.0]), np.array([0.0, 20.0])
    found, known = jax.jit(learn)(np.eye(2), False, step, difference)
    np.testing.assert_allclose(found, update(4 * np.eye(2), step, difference), rtol=1e-12)
    np.testing.assert_allclose(found @ step, difference, atol=1e-12)
    assert known
    for nothing in (0.0, np.nan):
        found, known = jax.jit(learn)(np.eye(2), False, step, nothing * difference)
        assert not known
        assert np.isfinite(found).all()


def test_it_learns_the_hessian_of_a_quadratic_and_then_takes_newtons_step():
    problem = quadratic()
    matrix = np.asarray(jax.hessian(problem.fun)(jax.tree.map(jnp.asarray, problem.start))["x"]["x"])
    dampings = np.array([0.0, 0.5])
    points, states = jax.vmap(descent(sr1, problem.fun, 20), (None, 0))(problem.start, dampings)
    for lane, damping in enumerate(dampings):
        errors = np.abs(states.matrix[lane] - matrix - damping * np.eye(6)).max((1, 2))
        assert errors.min() < 1e-5
        assert errors[-1] < 1e-5 * np.abs(matrix).max()  # differences of gradients close to the minimum are rounded
    np.testing.assert_allclose(points["x"][0, -1], problem.minimiser["x"], atol=1e-7)
    np.testing.assert_array_equal(states.counts.gradient, np.tile(np.arange(2, 22), (2, 1)))
    assert not states.counts.hvp.any()


def test_it_takes_few_gradients_and_keeps_the_evaluation_of_the_point():
    problem, rosen = rosenbrock(), (scipy.optimize.rosen, scipy.optimize.rosen_der)
    theirs = scipy.optimize.minimize(rosen[0], [-1.2, 1.0], jac=rosen[1], method="BFGS", options={"gtol": 1e-6})
    points, states = jax.device_get(descent(sr1, problem.fun, STEPS)(problem.start, 0.0))
    value, grad = jax.vmap(jax.value_and_grad(problem.fun))(points)
    np.testing.assert_allclose(states.kept.value, value, rtol=1e-12, atol=1e-15)
    chex.assert_trees_all_close(states.kept.grad, grad, rtol=1e-8, atol=1e-13)
    small = np.abs(states.kept.grad["x"]).max(axis=1) <= 1e-6
    assert small.any()
    assert states.counts.gradient[small.argmax()] <= 1.5 * theirs.nfev
    assert value[-1] <= problem.minimum + 1e-10


def test_a_step_that_is_not_taken_teaches_the_matrix_and_shortens_the_next():
    tx = sr1(radius=0.125)

    def fun(params):
        return jnp.sum(jnp.cosh(3 * params["x"]))

    @jax.jit
    def step(params, state, wall):
        value, grad = jax.value_and_grad(fun)(params)
        return tx.update(grad, state, params, value=value, grad=grad, value_fn=lambda p: fun(p) + wall)

    params = {"x": jnp.array([1.0, 0.5])}
    updates, state = step(params, tx.init(params), 100.0)
    assert (bool(state.stalled), bool(state.started), float(state.radius)) == (False, False, 0.0625)
    np.testing.assert_array_equal(state.matrix, np.eye(2))  # the first pair, which scales it, is that of a good step
    updates, state = step(params, state, 0.0)
    assert (bool(state.stalled), bool(state.started), float(state.radius)) == (False, True, 0.125)
    params = tree.add(params, updates)
    updates, after = step(params, state, 100.0)
    assert (bool(after.stalled), float(after.radius)) == (False, pytest.approx(0.0625))
    assert np.abs(after.matrix - state.matrix).max() > 1e-3
    state = after
    for _ in range(60):  # walls on all sides
        assert not np.any(updates["x"])
        updates, state = step(params, state, jnp.nan)
    chex.assert_trees_all_close((state.kept.value, state.kept.grad), jax.value_and_grad(fun)(params))
    assert state.stalled
    assert np.isfinite(state.matrix).all()


def test_a_radius_of_nothing_is_refused():
    with pytest.raises(ValueError, match="sr1: expected radius above 0; got radius=0"):
        sr1(radius=0)
