import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jax231.core import tree
from jax231.optim.bfgs import bfgs, learn, powell_damped, update_inverse
from tests.problems import quadratic, rosenbrock
from tests.trajectories import descent

pytestmark = pytest.mark.usefixtures("x64")
update = jax.jit(update_inverse)
STEPS = 40


def textbook(inverse, s, y):
    """Nocedal & Wright 2006, equation 6.17."""
    rho, identity = 1 / (y @ s), np.eye(len(s))
    left = identity - rho * np.outer(s, y)
    return left @ inverse @ left.T + rho * np.outer(s, s)


def positive_definite(seed):
    root = np.random.default_rng(seed).normal(size=(6, 6))
    return root @ root.T + np.eye(6)


def hessian_of(problem):
    return np.asarray(jax.hessian(problem.fun)(jax.tree.map(jnp.asarray, problem.start))["x"]["x"])


def test_the_update_is_that_of_the_textbook_and_of_rank_two():
    inverse, s = positive_definite(0), np.random.default_rng(1).normal(size=6)
    y = positive_definite(2) @ s
    found = update(inverse, s, y)
    np.testing.assert_allclose(found, textbook(inverse, s, y), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found @ y, s, rtol=1e-10)
    assert np.linalg.eigvalsh(found).min() > 0
    for change in (found - inverse, np.linalg.inv(found) - np.linalg.inv(inverse)):
        assert np.linalg.matrix_rank(change, tol=1e-9 * np.linalg.norm(change)) == 2


def test_the_first_pair_scales_the_identity():
    s, y = np.arange(1.0, 7.0), np.arange(1.0, 7.0) ** 2
    found, known = jax.jit(learn)(np.eye(6), False, s, y)
    np.testing.assert_allclose(found, textbook(s @ y / (y @ y) * np.eye(6), s, y), rtol=1e-10, atol=1e-12)
    assert known
    found, _ = jax.jit(learn)(np.eye(6), True, s, y)
    np.testing.assert_allclose(found, textbook(np.eye(6), s, y), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("difference", [-1.0, 0.0, np.nan])
@pytest.mark.parametrize("started", [False, True])
def test_a_pair_without_positive_curvature_is_left_out(difference, started):
    inverse = positive_definite(0)
    found, known = jax.jit(learn)(inverse, started, np.ones(6), difference * np.ones(6))
    np.testing.assert_array_equal(found, inverse)
    assert not known


@pytest.mark.parametrize("curvature", [-3.0, 0.0, 0.19, 0.21, 5.0])
def test_powells_rule_keeps_a_share_of_the_old_curvature(curvature):
    matrix, s = positive_definite(0), np.random.default_rng(1).normal(size=6)
    image = matrix @ s
    y = np.random.default_rng(2).normal(size=6)
    y += (curvature * s @ image - s @ y) / (s @ s) * s
    found = jax.jit(powell_damped)(s, y, image)
    np.testing.assert_allclose(s @ found, max(curvature, 0.2) * (s @ image), rtol=1e-10)
    if curvature > 0.2:
        np.testing.assert_array_equal(found, y)
    assert np.linalg.matrix_rank(np.stack([found, y, image]), tol=1e-9) == 2  # a mixture of the two


def conjugate_gradients(matrix, centre, x):
    """The iterates of Hestenes & Stiefel 1952, which an exact search makes BFGS follow."""
    points, residual = [], matrix @ (centre - x)
    direction = residual
    for _ in range(len(x)):
        length = residual @ residual / (direction @ matrix @ direction)
        x, new = x + length * direction, residual - length * matrix @ direction
        direction, residual = new + new @ new / (residual @ residual) * direction, new
        points.append(x)
    return np.array(points)


def test_exact_searches_end_a_quadratic_and_find_its_inverse_hessian():
    """Finite termination: after n steps, the way of conjugate gradients, x is the minimum and H the inverse.

    With damping the matrix is that of the Hessian and a multiple of the identity.
    """
    problem, dampings = quadratic(), np.array([0.0, 0.7, 30.0])
    matrix = hessian_of(problem)
    run = descent(lambda damping: bfgs(damping, curvature=1e-9, evaluations=8), problem.fun, 6)
    points, states = jax.device_get(jax.vmap(run, (None, 0))(problem.start, dampings))
    expected = conjugate_gradients(matrix, problem.minimiser["x"], problem.start["x"])
    np.testing.assert_allclose(points["x"][0], expected, atol=1e-6)
    np.testing.assert_allclose(points["x"][0, -1], problem.minimiser["x"], atol=1e-8)
    np.testing.assert_allclose(states.inverse[0, -1], np.linalg.inv(matrix), atol=1e-6)
    assert np.linalg.norm(states.inverse[0, -2] - np.linalg.inv(matrix)) > 1e-3
    for lane, damping in enumerate(dampings):
        step = points["x"][lane, 0] - problem.start["x"]
        image = (matrix + damping * np.eye(6)) @ step
        np.testing.assert_allclose(states.inverse[lane, 0] @ image, step, rtol=1e-8, atol=1e-10)


def test_it_takes_about_as_many_evaluations_as_scipy():
    problem, rosen = rosenbrock(), (scipy.optimize.rosen, scipy.optimize.rosen_der)
    theirs = scipy.optimize.minimize(rosen[0], [-1.2, 1.0], jac=rosen[1], method="BFGS", options={"gtol": 1e-6})
    points, states = jax.device_get(descent(bfgs, problem.fun, STEPS)(problem.start, 0.0))
    small = np.abs(states.kept.grad["x"]).max(axis=1) <= 1e-6
    assert small.any()
    assert states.counts.gradient[small.argmax()] <= 1.2 * theirs.nfev
    value, grad = jax.vmap(jax.value_and_grad(problem.fun))(points)  # what is kept is the evaluation of the point
    np.testing.assert_allclose(states.kept.value, value, rtol=1e-12, atol=1e-15)
    chex.assert_trees_all_close(states.kept.grad, grad, rtol=1e-8, atol=1e-13)


def test_short_searches_need_powells_rule():
    """Cut short, a search may end where the curvature is not positive; the matrix stays positive definite."""
    problem = rosenbrock()
    run = descent(lambda damping: bfgs(damping, safeguard="powell", evaluations=3), problem.fun, STEPS)
    points, states = run(problem.start, 0.0)
    assert (np.linalg.eigvalsh(states.inverse) > 0).all()
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[-1], points), problem.minimiser, atol=1e-5)


def test_it_stalls_only_where_steepest_descent_fails_as_well():
    """A first step, then walls on all sides: the matrix is dropped, and only the search after that gives up."""

    def fun(params):
        return jnp.sum((params["x"] - 1) ** 2)

    tx = bfgs()

    @jax.jit
    def step(params, state, wall):
        value, grad = jax.value_and_grad(fun)(params)
        return tx.update(grad, state, params, value=value, grad=grad, value_fn=lambda p: fun(p) + wall)

    params = {"x": jnp.array([3.0, -1.0])}
    updates, state = step(params, tx.init(params), 0.0)
    params = tree.add(params, updates)
    assert (bool(state.stalled), bool(state.started)) == (False, True)
    for stalled in (False, True):
        updates, state = step(params, state, jnp.nan)
        chex.assert_trees_all_equal(updates, tree.zeros_like(params))
        assert (bool(state.stalled), bool(state.started)) == (stalled, False)
        np.testing.assert_array_equal(state.inverse, np.eye(2))
    updates, state = step(params, state, 0.0)
    assert not state.stalled
    assert tree.norm(updates) > 0


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="bfgs: expected at least one evaluation a line search; got evaluations=0"):
        bfgs(evaluations=0)
    with pytest.raises(ValueError, match="bfgs: expected safeguard to be skip or powell; got safeguard='damp'"):
        bfgs(safeguard="damp")
