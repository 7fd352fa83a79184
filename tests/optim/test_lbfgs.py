import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jax231.core import tree
from jax231.optim import limited_memory
from jax231.optim.lbfgs import lbfgs
from tests.problems import logistic_regression, quadratic, rosenbrock
from tests.trajectories import descent

pytestmark = pytest.mark.usefixtures("x64")
STEPS = 40


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
    steps, differences = states.memory.steps[-1, :4], states.memory.differences[-1, :4]
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
    assert (bool(state.stalled), bool(limited_memory.started(state.memory))) == (False, True)
    for stalled in (False, True):
        updates, state = step(params, state, jnp.nan)
        chex.assert_trees_all_equal(updates, tree.zeros_like(params))
        assert bool(state.stalled) == stalled
        assert not limited_memory.started(state.memory)
    updates, state = step(params, state, 0.0)
    assert not state.stalled
    assert tree.norm(updates) > 0


def test_a_size_of_nothing_is_refused():
    with pytest.raises(ValueError, match="lbfgs: expected a memory of at least one pair; got memory=0"):
        lbfgs(memory=0)
    with pytest.raises(ValueError, match="lbfgs: expected at least one evaluation a line search; got evaluations=0"):
        lbfgs(evaluations=0)
