import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.data import sources
from jax231.functional.linear import affine
from jax231.functional.losses import softmax_cross_entropy
from jax231.functional.regularizers import objective
from jax231.optim.newton import (
    SOLVES,
    absolute_solve,
    damped_solve,
    modified_cholesky,
    modified_cholesky_solve,
    newton,
    newton_pure,
)
from tests.problems import logistic_regression, quadratic, saddle
from tests.trajectories import descent

pytestmark = pytest.mark.usefixtures("x64")
solve = jax.jit(damped_solve)
every_choice = pytest.mark.parametrize("indefinite", SOLVES)
VECTOR = np.array([1.0, -2.0, 3.0, 4.0])
SPECTRA = {
    "positive": [1.0, 2.0, 5.0, 100.0],
    "one negative": [-3.0, 2.0, 5.0, 100.0],
    "negative": [-1.0, -2.0, -5.0, -100.0],
    "nearly singular": [-1e-9, 1e-9, 1.0, 2.0],
}
every_spectrum = pytest.mark.parametrize("spectrum", SPECTRA)


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


def test_pivots_of_rounding_do_not_make_a_matrix_positive_definite():
    """Of rank one: some orders of the sums leave a pivot of 1e-17, and a step of 1e17 along what changes nothing."""
    matrix, vector = np.outer([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) + np.diag([0, 0, 1e-17]), np.array([1.0, -1.0, 1.0])
    found, added = solve(matrix, vector, 0.0)
    assert added == pytest.approx(np.finfo(float).eps ** 0.5 * 0.14 / np.sqrt(3))
    residual = (matrix + float(added) * np.eye(3)) @ found - vector
    assert np.linalg.norm(residual) <= 1e-15 * np.linalg.norm(matrix) * np.linalg.norm(found)


def test_without_curvature_the_step_is_that_of_steepest_descent():
    found, added = solve(np.zeros((2, 2)), np.array([1.0, 2.0]), 0.0)
    assert added == 1
    np.testing.assert_array_equal(found, [1.0, 2.0])


@every_spectrum
@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_absolute_eigenvalues_are_those_of_a_dense_decomposition(spectrum, damping):
    matrix = symmetric(SPECTRA[spectrum])
    turned = symmetric(np.abs(SPECTRA[spectrum])) + damping * np.eye(4)
    found, added = jax.jit(absolute_solve)(matrix, VECTOR, damping)
    tolerance = 1e-6 if spectrum == "nearly singular" else 1e-11
    np.testing.assert_allclose(turned @ found, VECTOR, rtol=tolerance)
    np.testing.assert_allclose(added, max(-2 * min(SPECTRA[spectrum]), 0) + damping, rtol=1e-9, atol=1e-13)


def cholesky_by_swaps(matrix):
    """Gill, Murray & Wright 1981 as they print it: rows and columns change places, one after the other."""
    size, order = len(matrix), np.arange(len(matrix))
    left, pivots, added = matrix.copy(), np.zeros(size), np.zeros(size)
    off_diagonal = np.abs(matrix - np.diag(np.diag(matrix))).max()
    least = size * np.finfo(float).eps * np.abs(matrix).max()
    bound = max(np.abs(np.diag(matrix)).max(), off_diagonal / np.sqrt(size**2 - 1), least)
    for j in range(size):
        chosen = j + np.abs(np.diag(left)[j:]).argmax()
        for x in (left, left.T, order, added):
            x[[j, chosen]] = x[[chosen, j]]
        largest = np.abs(left[j + 1 :, j]).max(initial=0)
        pivots[j] = max(abs(left[j, j]), largest**2 / bound, least)
        added[j] = pivots[j] - left[j, j]
        left[j + 1 :, j + 1 :] -= np.outer(left[j + 1 :, j], left[j + 1 :, j]) / pivots[j]
    return pivots, order, added[np.argsort(order)]


@every_spectrum
def test_modified_cholesky_is_the_method_of_gill_murray_and_wright(spectrum):
    matrix = symmetric(SPECTRA[spectrum])
    rows, *found = jax.device_get(jax.jit(modified_cholesky)(matrix))
    tolerance = 1e-12 * np.abs(matrix).max()
    for actual, expected in zip(found, cholesky_by_swaps(matrix), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=tolerance)
    pivots, order, added = found
    np.testing.assert_allclose(rows.T @ np.diag(pivots) @ rows, matrix + np.diag(added), atol=tolerance)
    np.testing.assert_array_equal(np.tril(rows[:, order]), np.eye(4))
    assert (added >= -tolerance).all()
    if spectrum == "positive":
        np.testing.assert_allclose(added, 0, atol=tolerance)


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_modified_cholesky_solves_the_system_that_it_made(damping):
    matrix = symmetric(SPECTRA["one negative"])
    added = np.diag(jax.jit(modified_cholesky)(matrix + damping * np.eye(4)).added)
    found, norm = jax.jit(modified_cholesky_solve)(matrix, VECTOR, damping)
    np.testing.assert_allclose((matrix + damping * np.eye(4) + added) @ found, VECTOR, rtol=1e-11)
    np.testing.assert_allclose(norm, added.max() + damping)
    assert 3 <= norm < 30


@every_choice
@pytest.mark.parametrize(("matrix", "least"), [([[0.0, 1.0], [1.0, 0.0]], 1.0), (np.zeros((2, 2)), 1.0)])
def test_every_choice_descends_without_a_positive_diagonal(indefinite, matrix, least):
    vector = np.array([1.0, 2.0])
    found, added = jax.jit(SOLVES[indefinite])(np.array(matrix), vector, 0.0)
    assert added >= least
    assert 0 < found @ vector <= 5
    missing, _ = jax.jit(SOLVES[indefinite])(np.full((2, 2), np.nan), vector, 0.0)
    assert np.isnan(missing).any()


def test_one_step_solves_a_quadratic():
    problem = quadratic()
    points, states = descent(newton, problem.fun, 2)(problem.start, 0.0)
    np.testing.assert_allclose(points["x"][0], problem.minimiser["x"], rtol=1e-10, atol=1e-12)
    for used in (states.counts.loss, states.counts.gradient, states.counts.hessian):
        np.testing.assert_array_equal(used, [1, 2])
    assert not states.counts.hvp.any()


def test_it_leaves_a_saddle_downhill():
    """The raw step would jump onto it: the Hessian there is diag(1, -1)."""
    problem = saddle()
    points, states = descent(newton, problem.fun, 8)(problem.start, 0.0)
    values = jax.vmap(problem.fun)(points)
    assert values[0] < problem.fun(problem.start)
    assert (jnp.diff(values) <= 0).all()
    assert states.added[0] > 0.99
    assert values[-1] < 1e-8


@pytest.mark.parametrize("indefinite", ["absolute", "modified_cholesky"])
def test_dampings_are_lanes_of_one_scan_that_leaves_the_saddle(indefinite):
    problem = saddle()
    run = descent(lambda damping: newton(damping, indefinite=indefinite), problem.fun, 16)
    dampings = jnp.array([0.0, 1e-3, 0.1])
    points, states = jax.vmap(run, (None, 0))(problem.start, dampings)
    values = jax.vmap(jax.vmap(problem.fun))(points)
    assert (jnp.diff(values) <= 1e-15).all()
    assert (values[:, -1] < 1e-8).all()
    assert (states.added[:, 0] > 0.99).all()
    np.testing.assert_allclose(states.added[:, -1], dampings, atol=1e-9)
    # Where the slope along y is 0.01 and the curvature -1 the step is 0.01, away from the saddle and not onto it.
    np.testing.assert_allclose(points["x"][0, 0], [0.0, 0.02], rtol=1e-3, atol=1e-12)


def test_the_pure_step_is_that_of_the_course():
    problem = logistic_regression()
    points, states = descent(lambda _: newton_pure(), problem.fun, 4)(problem.start, 0.0)
    x, unravel = tree.ravel(jax.tree.map(jnp.asarray, problem.start))
    derivatives = jax.jit(lambda x: [d(lambda x: problem.fun(unravel(x)))(x) for d in (jax.hessian, jax.grad)])
    for step in range(4):
        x = x - np.linalg.solve(*derivatives(x))
        chex.assert_trees_all_close(jax.tree.map(lambda p, k=step: p[k], points), unravel(x), rtol=1e-10)
    assert not states.stalled.any()
    np.testing.assert_array_equal(states.counts.hessian, [1, 2, 3, 4])
    assert not states.counts.loss.any()


def test_the_pure_step_is_attracted_by_the_saddle():
    problem = saddle()
    points, states = descent(lambda _: newton_pure(), problem.fun, 7)(problem.start, 0.0)
    np.testing.assert_allclose(points["x"][-1], [0.0, 0.0], atol=1e-12)
    assert problem.fun(jax.tree.map(lambda x: x[-1], points)) == 0.25
    assert states.stalled[-1]  # on the saddle itself the gradient vanishes


@pytest.mark.parametrize("start", [np.zeros(2), np.array([np.nan, 1.0])])
def test_the_pure_step_stays_where_it_cannot_be_computed(start):
    """In bfloat16: updates keep the type of the parameters."""
    run = descent(lambda _: newton_pure(), lambda p: jnp.sum(p["x"] ** 4 + p["x"]), 1)
    points, states = run({"x": jnp.asarray(start, jnp.bfloat16)}, 0.0)
    np.testing.assert_array_equal(np.asarray(points["x"][0], float), start)
    assert points["x"].dtype == jnp.bfloat16
    assert states.stalled[0]


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match=r"newton: expected indefinite to be one of damping, .*; got indefinite='abs'"):
        newton(0.1, indefinite="abs")


def test_softmax_regression_on_the_digits_takes_seven_steps():
    """Without a setting: a constant damping would make the convergence linear."""
    digits = sources.load("digits").split()[0].take(np.arange(150))
    x = digits.images.reshape(150, -1).astype(float)
    x = (x - x.mean()) / x.std()
    labels = jnp.asarray(digits.labels)

    def fun(params):
        loss = softmax_cross_entropy(affine(jnp.asarray(x, float), params["kernel"], params["bias"]), labels)
        return objective(loss, params, 1e-2)

    start = {"kernel": np.zeros((64, 10)), "bias": np.zeros(10)}
    points, states = descent(lambda _: newton(), fun, 7)(start, 0.0)
    gradient = jax.jit(jax.grad(fun))(jax.tree.map(lambda x: x[-1], points))
    assert np.linalg.norm(np.concatenate([x.ravel() for x in jax.tree.leaves(gradient)])) <= 1e-6
    assert states.counts.loss[-1] <= 9
