import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.optim.newton_cg import newton_cg
from jax231.optim.newton_cg_trust import newton_cg_trust
from jax231.optim.truncated_newton import truncated_cg
from tests.problems import logistic_regression
from tests.trajectories import descent

pytestmark = pytest.mark.usefixtures("x64")
VECTOR = np.array([1.0, -2.0, 3.0, 4.0, 0.5])


def symmetric(*eigenvalues):
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    return basis @ np.diag(eigenvalues) @ basis.T


@jax.jit
def solve(matrix, vector, tolerance):
    return truncated_cg(lambda v: matrix @ v, vector, tolerance, 8)


def test_a_tight_tolerance_gives_the_solution():
    matrix = symmetric(1.0, 2.0, 5.0, 20.0, 100.0)
    found = solve(matrix, VECTOR, 1e-10)
    np.testing.assert_allclose(found.solution, np.linalg.solve(matrix, VECTOR), rtol=1e-9)
    assert found.products <= 7
    assert not found.negative


@pytest.mark.parametrize("distinct", [1, 2, 3])
def test_it_takes_as_many_products_as_there_are_distinct_eigenvalues(distinct):
    eigenvalues = [1.0 + 3 * (i % distinct) for i in range(5)]
    assert solve(symmetric(*eigenvalues), VECTOR, 1e-9).products == distinct


@pytest.mark.parametrize("tolerance", [3.0, 0.3, 1e-4])
def test_the_residual_meets_the_tolerance_and_no_product_is_wasted(tolerance):
    matrix = symmetric(1.0, 2.0, 5.0, 20.0, 100.0)
    found = solve(matrix, VECTOR, tolerance)
    assert np.linalg.norm(VECTOR - matrix @ found.solution) <= tolerance
    fewer = truncated_cg(lambda v: matrix @ v, jnp.asarray(VECTOR), jnp.asarray(tolerance), int(found.products) - 1)
    assert np.linalg.norm(VECTOR - matrix @ fewer.solution) > tolerance


def test_negative_curvature_at_once_leaves_the_vector_itself():
    found = solve(-np.eye(5), VECTOR, 1e-9)
    assert (bool(found.negative), int(found.products)) == (True, 1)
    np.testing.assert_array_equal(found.solution, VECTOR)


def test_negative_curvature_later_leaves_a_direction_that_descends():
    matrix = symmetric(-0.5, 2.0, 5.0, 20.0, 100.0)
    found = solve(matrix, VECTOR, 1e-9)
    assert found.negative
    assert 1 < found.products <= 5
    assert found.solution @ VECTOR > 0
    assert found.solution @ matrix @ found.solution > 0  # only directions of positive curvature were followed


def test_nothing_to_solve_takes_no_product():
    found = solve(np.eye(5), np.zeros(5), 0.0)
    assert (int(found.products), bool(found.negative)) == (0, False)
    np.testing.assert_array_equal(found.solution, np.zeros(5))


def test_products_that_are_not_numbers_end_it():
    found = solve(np.full((5, 5), np.nan), VECTOR, 1e-9)
    assert found.products == 1
    np.testing.assert_array_equal(found.solution, VECTOR)


@pytest.mark.parametrize("builder", [newton_cg, newton_cg_trust])
def test_the_residual_allowed_makes_it_converge_superlinearly_on_a_convex_problem(builder):
    problem = logistic_regression()
    points, states = descent(builder, problem.fun, 12)(problem.start, 0.0)
    gaps = jax.vmap(problem.fun)(points) - problem.minimum
    assert (gaps[-1] <= 1e-13) & (gaps[0] > 1e-3)
    np.testing.assert_array_equal(states.counts.gradient, 2 * np.arange(1, 13))
    np.testing.assert_array_equal(states.counts.hvp, np.cumsum(states.cg_iterations))
    assert states.cg_iterations.max() <= 5
    first = int((gaps < 1e-13).argmax())
    np.testing.assert_array_equal(states.counts.loss[:first], np.arange(1, first + 1))  # the whole step, every time
