import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jax231.core import tree
from jax231.optim.lbfgs import Memory, lbfgs, remember, two_loop
from tests.problems import logistic_regression, quadratic, rosenbrock
from tests.trajectories import descent

pytestmark = pytest.mark.usefixtures("x64")
STEPS = 40


def dense_inverse(steps, differences, scale):
    """BFGS as the textbook prints it, for the inverse: Nocedal & Wright 2006, equation 6.17."""
    identity = np.eye(steps.shape[1])
    inverse = scale * identity
    for s, y in zip(steps, differences, strict=True):
        rho = 1 / (y @ s)
        left = identity - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    return inverse


def pairs(count, size=6):
    """Random steps, and their images under a positive definite matrix."""
    rng = np.random.default_rng(3)
    root = rng.normal(size=(size, size))
    steps = rng.normal(size=(count, size))
    return steps, steps @ (root @ root.T + np.eye(size))


def remembered(steps, differences, places):
    memory = Memory(*map(jnp.zeros, ((places, 6), (places, 6), places)))
    scale = jnp.ones(())
    for step, difference in zip(steps, differences, strict=True):
        memory, scale = jax.jit(remember)(memory, scale, step, difference)
    return memory, scale


@pytest.mark.parametrize("count", [0, 3, 5, 8])
def test_two_loops_are_the_dense_inverse(count):
    steps, differences = pairs(count)
    memory, scale = remembered(steps, differences, places=5)
    if count:
        s, y = steps[-1], differences[-1]
        np.testing.assert_allclose(scale, s @ y / (y @ y), rtol=1e-12)
    expected = dense_inverse(steps[-5:], differences[-5:], float(scale))
    found = jax.vmap(two_loop, (None, None, 0))(memory, scale, jnp.eye(6))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_only_the_newest_pairs_are_kept():
    steps, differences = pairs(8)
    memory, _ = remembered(steps, differences, places=5)
    np.testing.assert_array_equal(memory.steps, steps[-5:])
    np.testing.assert_allclose(memory.inverse_products, 1 / (steps * differences).sum(1)[-5:], rtol=1e-12)


@pytest.mark.parametrize("difference", [-1.0, 0.0, np.nan])
def test_a_pair_without_positive_curvature_is_left_out(difference):
    steps, differences = pairs(3)
    before = remembered(steps, differences, places=5)
    step = jnp.ones(6)
    chex.assert_trees_all_equal(jax.jit(remember)(*before, step, difference * step), before)


def test_exact_steps_end_a_quadratic_after_as_many_as_it_has_dimensions():
    problem = quadratic()
    x, centre = problem.start["x"], problem.minimiser["x"]
    matrix = np.asarray(jax.hessian(problem.fun)({"x": jnp.asarray(x)})["x"]["x"])
    memory, scale = remembered([], [], places=8)
    for _ in range(6):
        gradient = matrix @ (x - centre)
        direction = -np.asarray(jax.jit(two_loop)(memory, scale, gradient))
        step = -(gradient @ direction) / (direction @ matrix @ direction) * direction
        memory, scale = jax.jit(remember)(memory, scale, step, matrix @ step)
        x = x + step
    np.testing.assert_allclose(x, centre, atol=1e-9)


def test_the_kept_evaluation_is_that_of_the_point():
    problem = logistic_regression()
    points, states = descent(lbfgs, problem.fun, 5)(problem.start, 1e-3)
    value, grad = jax.vmap(jax.value_and_grad(problem.fun))(points)
    assert states.kept.known.all()
    np.testing.assert_allclose(states.kept.value, value, rtol=1e-12)
    chex.assert_trees_all_close(states.kept.grad, grad, rtol=1e-8, atol=1e-13)


@pytest.mark.parametrize("problem", [rosenbrock, logistic_regression])
def test_it_takes_no_more_evaluations_than_scipy(problem):
    problem = problem()
    flat, unravel = tree.ravel(jax.tree.map(jnp.asarray, problem.start))
    value_and_grad = jax.jit(jax.value_and_grad(lambda x: problem.fun(unravel(x))))
    theirs = scipy.optimize.minimize(
        lambda x: tuple(map(np.asarray, value_and_grad(x))), flat, jac=True, method="L-BFGS-B",
        options={"gtol": 1e-6, "ftol": 0, "maxcor": 10},
    )  # fmt: skip
    _, states = jax.device_get(descent(lbfgs, problem.fun, STEPS)(problem.start, 0.0))
    gradients = np.concatenate([x.reshape(STEPS, -1) for x in jax.tree.leaves(states.kept.grad)], axis=1)
    small = np.abs(gradients).max(axis=1) <= 1e-6
    assert small.any()
    assert states.counts.gradient[small.argmax()] <= 1.2 * theirs.nfev


def test_damping_adds_a_multiple_of_the_identity_to_every_pair():
    problem, damping = quadratic(), 0.7
    matrix = jax.hessian(problem.fun)(jax.tree.map(jnp.asarray, problem.start))["x"]["x"]
    _, states = descent(lbfgs, problem.fun, 4)(problem.start, damping)
    steps, differences = states.memory.steps[-1, -4:], states.memory.differences[-1, -4:]
    assert (jnp.linalg.norm(steps, axis=1) > 0).all()
    np.testing.assert_allclose(differences, steps @ (matrix + damping * jnp.eye(6)), rtol=1e-9, atol=1e-10)


def test_it_stalls_only_where_steepest_descent_fails_as_well():
    """A first step, then walls on all sides: the memory is dropped, and only the search after that gives up."""

    def fun(params):
        return jnp.sum((params["x"] - 1) ** 2)

    tx = lbfgs()

    @jax.jit
    def step(params, state, wall):
        value, grad = jax.value_and_grad(fun)(params)
        return tx.update(grad, state, params, value=value, grad=grad, value_fn=lambda p: fun(p) + wall)

    params = {"x": jnp.array([3.0, -1.0])}
    updates, state = step(params, tx.init(params), 0.0)
    params = tree.add(params, updates)
    assert (bool(state.stalled), float(state.memory.inverse_products[-1] > 0)) == (False, 1)
    for stalled in (False, True):
        updates, state = step(params, state, jnp.nan)
        chex.assert_trees_all_equal(updates, tree.zeros_like(params))
        assert bool(state.stalled) == stalled
        assert not state.memory.inverse_products.any()
    updates, state = step(params, state, 0.0)
    assert not state.stalled
    assert tree.norm(updates) > 0


def test_a_size_of_nothing_is_refused():
    with pytest.raises(ValueError, match="lbfgs: expected a memory of at least one pair; got memory=0"):
        lbfgs(memory=0)
    with pytest.raises(ValueError, match="lbfgs: expected at least one evaluation a line search; got evaluations=0"):
        lbfgs(evaluations=0)
