import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.data import sources
from jax231.functional.linear import affine
from jax231.functional.losses import softmax_cross_entropy
from jax231.functional.regularizers import objective
from jax231.optim.newton import damped_solve, newton
from tests.problems import quadratic, saddle
from tests.trajectories import descent

pytestmark = pytest.mark.usefixtures("x64")
solve = jax.jit(damped_solve)


def symmetric(eigenvalues):
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(len(eigenvalues),) * 2))
    return basis @ np.diag(eigenvalues) @ basis.T


@pytest.mark.parametrize("damping", [0.0, 1e-3, 10.0])
def test_a_positive_definite_matrix_gets_the_damping_that_was_asked_for(damping):
    matrix, vector = symmetric([1.0, 2.0, 5.0, 100.0]), np.array([1.0, -2.0, 3.0, 4.0])
    found, added = solve(matrix, vector, damping)
    assert added == damping
    np.testing.assert_allclose(found, np.linalg.solve(matrix + damping * np.eye(4), vector), rtol=1e-11)


@pytest.mark.parametrize("damping", [0.0, 1e-6, 0.1])
def test_an_indefinite_matrix_gets_more(damping):
    matrix, vector = symmetric([-3.0, 2.0, 5.0, 100.0]), np.array([1.0, -2.0, 3.0, 4.0])
    found, added = solve(matrix, vector, damping)
    assert 3 < added <= 10 * 3 + 10 * damping  # at most a factor beyond the first one that is enough
    np.testing.assert_allclose(found, np.linalg.solve(matrix + float(added) * np.eye(4), vector), rtol=1e-10)
    assert found @ vector > 0


def test_a_diagonal_of_zeros_is_no_obstacle():
    matrix, vector = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, 2.0])
    found, added = solve(matrix, vector, 0.0)
    assert 1 < added <= 10
    assert found @ vector > 0


def test_without_curvature_the_step_is_that_of_steepest_descent():
    found, added = solve(np.zeros((2, 2)), np.array([1.0, 2.0]), 0.0)
    assert added == 1
    np.testing.assert_array_equal(found, [1.0, 2.0])


def test_one_step_solves_a_quadratic():
    problem = quadratic()
    points, states = descent(newton, problem.fun, 2)(problem.start, 0.0)
    np.testing.assert_allclose(points["x"][0], problem.minimiser["x"], rtol=1e-10, atol=1e-12)
    chex.assert_trees_all_equal(states.counts._asdict(), {
        "loss": np.array([1, 2]), "gradient": np.array([1, 2]), "hvp": np.zeros(2, int), "hessian": np.array([1, 2]),
    })  # fmt: skip


def test_it_leaves_a_saddle_downhill():
    """The raw step would jump onto it: the Hessian there is diag(1, -1)."""
    problem = saddle()
    points, states = descent(newton, problem.fun, 8)(problem.start, 0.0)
    values = jax.vmap(problem.fun)(points)
    assert values[0] < problem.fun(problem.start)
    assert (jnp.diff(values) <= 0).all()
    assert states.added[0] > 0.99
    assert values[-1] < 1e-8


def test_softmax_regression_on_the_digits_takes_seven_steps():
    digits = sources.load("digits").split()[0].take(np.arange(150))
    x = digits.images.reshape(150, -1).astype(float)
    x = (x - x.mean()) / x.std()
    labels = jnp.asarray(digits.labels)

    def fun(params):
        loss = softmax_cross_entropy(affine(jnp.asarray(x, float), params["kernel"], params["bias"]), labels)
        return objective(loss, params, 1e-2)

    start = {"kernel": np.zeros((64, 10)), "bias": np.zeros(10)}
    points, states = descent(newton, fun, 7)(start, 1e-6)
    gradient = jax.jit(jax.grad(fun))(jax.tree.map(lambda x: x[-1], points))
    assert np.linalg.norm(np.concatenate([x.ravel() for x in jax.tree.leaves(gradient)])) <= 1e-6
    assert states.counts.loss[-1] <= 9
