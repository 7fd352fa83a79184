import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.curvature.products import ggn
from jax231.optim.gauss_newton import (
    SAVED,
    Minimised,
    Saved,
    adapted,
    fisher_diagonal,
    gauss_newton,
    go_back,
    minimise_model,
    reduction_ratio,
)
from tests.outputs import (
    Composed,
    autoencoder,
    descent,
    half_square,
    linear_least_squares,
    softmax_regression,
    step,
)

pytestmark = pytest.mark.usefixtures("x64")
SIZE, LIMIT = 40, 120
GRADIENT = np.random.default_rng(1).normal(size=SIZE)


def positive(condition, size=SIZE):
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))
    return basis @ np.diag(np.geomspace(1.0, condition, size)) @ basis.T


@jax.jit
def solve(matrix, gradient, start, inverse):
    return minimise_model(lambda v: matrix @ v, gradient, start, inverse, LIMIT)


@functools.partial(jax.jit, static_argnums=4)
def solve_shortly(matrix, gradient, start, inverse, limit):
    return minimise_model(lambda v: matrix @ v, gradient, start, inverse, limit)


def martens_by_loop(matrix, gradient, start, inverse):
    """All iterates and model values, by the book: Nocedal & Wright's algorithm 5.3 with Martens' stopping rule."""
    x = start
    r = matrix @ x + gradient
    p = -inverse * r
    points, models = [x], [x @ matrix @ x / 2 + gradient @ x]
    for i in range(1, LIMIT + 1):
        length = (r @ (inverse * r)) / (p @ matrix @ p)
        x, new = x + length * p, r + length * matrix @ p
        p = -inverse * new + (new @ (inverse * new)) / (r @ (inverse * r)) * p
        r = new
        points.append(x)
        models.append(x @ matrix @ x / 2 + gradient @ x)
        k = max(10, i // 10)
        if i > k and models[i] < 0 and (models[i] - models[i - k]) / models[i] < k * 5e-4:
            break
    return np.array(points), np.array(models)


@pytest.mark.parametrize(("preconditioned", "warm"), [(False, False), (True, True)])
def test_the_iterates_are_those_of_the_paper(preconditioned, warm):
    matrix = positive(30.0)  # at 100 the iterates of the loop itself carry rounding errors of 4e-9
    inverse = 1 / np.diag(matrix) ** 0.75 if preconditioned else np.ones(SIZE)
    start = -0.3 * np.linalg.solve(matrix, GRADIENT) if warm else np.zeros(SIZE)
    points, models = martens_by_loop(matrix, GRADIENT, start, inverse)
    found = solve(matrix, GRADIENT, start, inverse)
    assert found.iterations == len(points) - 1 < LIMIT
    np.testing.assert_allclose(found.solution, points[-1], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.model, models[-1], rtol=1e-9)
    kept = [i for i in (1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 47, 62, 81, 106) if i < len(points) - 1]
    assert found.saved.count == len(kept)
    for place, i in list(enumerate(kept))[-SAVED:]:
        np.testing.assert_allclose(found.saved.points[place % SAVED], points[i], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.saved.models[place % SAVED], models[i], rtol=1e-9)


def test_a_few_eigenvalues_end_it_at_the_solution():
    matrix = np.diag(np.repeat([1.0, 5.0], SIZE // 2))
    found = solve(matrix, GRADIENT, np.zeros(SIZE), np.ones(SIZE))
    assert found.iterations <= 3
    np.testing.assert_allclose(found.solution, -GRADIENT / np.diag(matrix), rtol=1e-12)


def test_a_start_that_is_wrong_where_it_is_steep_helps_all_the_same():
    """As the last step's solution, whose steep directions are done; what is flat takes CG from 0 far longer."""
    bends = np.geomspace(1e-3, 1.0, SIZE)
    right = -GRADIENT / bends
    start = np.where(bends > 0.3, right + 1e4, right)
    assert start @ (bends * start) / 2 + GRADIENT @ start > 0
    warm, cold = (solve_shortly(np.diag(bends), GRADIENT, x, np.ones(SIZE), 8) for x in (start, 0 * start))
    assert warm.iterations <= cold.iterations == 8
    best = right @ GRADIENT / 2
    assert warm.model - best < 0.01 * (cold.model - best)


def test_a_start_that_is_not_made_good_gives_way_to_the_steepest_descent():
    matrix, inverse = positive(100.0), np.linspace(1.0, 2.0, SIZE)
    found = solve_shortly(matrix, GRADIENT, 100 * GRADIENT, inverse, 2)
    steepest = -inverse * GRADIENT
    length = -(GRADIENT @ steepest) / (steepest @ matrix @ steepest)
    assert found.iterations == 3
    np.testing.assert_allclose(found.solution, length * steepest, rtol=1e-12)
    np.testing.assert_allclose(found.model, length / 2 * GRADIENT @ steepest, rtol=1e-12)


def test_without_positive_curvature_it_is_the_preconditioned_gradient():
    inverse = np.linspace(1.0, 2.0, SIZE)
    for start in (np.zeros(SIZE), -0.1 * GRADIENT):
        found = solve(-np.eye(SIZE), GRADIENT, start, inverse)
        np.testing.assert_array_equal(found.solution, -inverse * GRADIENT)
        assert found.iterations == 1
        assert found.model == pytest.approx(-GRADIENT @ (inverse * GRADIENT))


def test_negative_curvature_later_leaves_a_direction_that_descends():
    matrix = positive(100.0) - 3 * np.eye(SIZE)
    found = solve(matrix, GRADIENT, np.zeros(SIZE), np.ones(SIZE))
    assert 1 < found.iterations < LIMIT
    assert found.solution @ GRADIENT < 0
    np.testing.assert_allclose(
        found.model, found.solution @ matrix @ found.solution / 2 + GRADIENT @ found.solution, rtol=1e-9
    )


@pytest.mark.parametrize("gradient", [np.zeros(SIZE), np.full(SIZE, np.nan)])
def test_nothing_to_solve_takes_no_iteration(gradient):
    found = solve(np.eye(SIZE), gradient, np.ones(SIZE), np.ones(SIZE))
    assert found.iterations == 0
    np.testing.assert_array_equal(found.solution, np.zeros(SIZE))


@jax.jit
def walk(table, found, last):
    return go_back(lambda point: table[point[0].astype(int)], found, last)


@pytest.mark.parametrize(
    ("losses", "last", "chosen", "evaluations"),
    [
        ([5.0, 4.0, 3.0, 2.0], 1.0, None, 1),  # the last one is the best
        ([5.0, 1.0, 2.0, 3.0], 4.0, 1, 4),
        ([1.0, 5.0, 2.0, 3.0], 4.0, 2, 3),  # no further than to the first hill
        ([1.0, 2.0, 3.0, 4.0], 5.0, 0, 5),
        ([1.0, 2.0, 3.0, 4.0], np.nan, 0, 5),
        ([1.0, 2.0, np.nan, 4.0], 5.0, 3, 2),
    ],
)
def test_going_back_walks_while_the_loss_falls(losses, last, chosen, evaluations):
    count = SAVED + 4  # the ring has turned; the oldest of its entries is the fifth
    table = np.full(count, 9.0)
    table[-4:] = losses
    places = np.array([max(i for i in range(count) if i % SAVED == place) for place in range(SAVED)], float)
    saved = Saved(places[:, None], -places, np.int32(count))
    found = Minimised(np.array([99.0]), np.float64(-99.0), saved, np.int32(50))
    point, value, model, used = walk(table, found, last)
    expected = 99 if chosen is None else count - 4 + chosen
    assert (point[0], model, used) == (expected, -expected, evaluations)
    assert value == (last if chosen is None else losses[chosen])


def test_going_back_ends_where_the_model_promises_nothing():
    saved = Saved(np.arange(8.0)[:, None], np.where(np.arange(8) < 6, 1.0, -1.0), np.int32(8))
    found = Minimised(np.array([99.0]), np.float64(-2.0), saved, np.int32(50))
    point, value, model, used = walk(np.arange(SAVED + 4.0), found, 10.0)
    assert (point[0], value, model, used) == (6, 6, -1, 2)


def test_the_damping_follows_the_reduction_ratio():
    ratios = jnp.array([-1.0, 0.2, 0.25, 0.5, 0.75, 0.8, 2.0, jnp.nan])
    np.testing.assert_allclose(jax.vmap(adapted, (None, 0))(jnp.asarray(6.0), ratios), [9, 9, 6, 6, 6, 4, 4, 9])
    value, trial = jnp.asarray(5.0), jnp.asarray(4.0)
    assert reduction_ratio(value, trial, jnp.asarray(-2.0)) == 0.5
    assert reduction_ratio(value, value, jnp.asarray(-1e-15)) == 0.5  # below rounding
    assert np.isnan(reduction_ratio(value, jnp.asarray(jnp.nan), jnp.asarray(-2.0)))


@functools.cache
def on_least_squares():
    return descent(gauss_newton, linear_least_squares()[-1], 3)


def test_one_step_solves_linear_least_squares():
    matrix, offset, _ = linear_least_squares()
    points, states = on_least_squares()(0.0)
    np.testing.assert_allclose(points["x"][0], np.linalg.lstsq(matrix, offset)[0], rtol=1e-10)
    assert states.ratio[0] == pytest.approx(1.0, rel=1e-10)
    chex.assert_trees_all_equal(jax.tree.map(lambda x: int(x[0]), states.counts)._asdict(), {
        "loss": 2, "gradient": 2, "hvp": 0, "hessian": 0, "ggnvp": 1 + 5,
    })  # fmt: skip


def test_where_the_model_is_linear_the_damped_step_is_newtons():
    matrix, offset, problem = linear_least_squares()
    hessian, start = matrix.T @ matrix, problem.start["x"]
    np.testing.assert_allclose(ggn(*problem), hessian, rtol=1e-12)
    points, states = on_least_squares()(0.7)
    newton = start - np.linalg.solve(hessian + 0.7 * np.eye(5), matrix.T @ (matrix @ start - offset))
    np.testing.assert_allclose(points["x"][0], newton, rtol=1e-10)
    np.testing.assert_allclose(states.damping, 0.7 * (2 / 3) ** np.arange(1, 4), rtol=1e-12)  # the model is exact


def test_it_finds_the_minimum_of_a_convex_problem():
    problem = softmax_regression()
    points, states = descent(lambda damping: gauss_newton(damping, probes=4), problem, 15)(1e-2)
    gradient = jax.jit(jax.grad(problem.value_fn))(jax.tree.map(lambda x: x[-1], points))
    assert max(np.abs(g).max() for g in jax.tree.leaves(gradient)) < 1e-9
    np.testing.assert_array_equal(states.counts.gradient, 6 * np.arange(1, 16))
    np.testing.assert_array_equal(states.counts.ggnvp, np.cumsum(1 + states.cg_iterations))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_types_are_kept(dtype):
    problem = softmax_regression()
    start = jax.tree.map(lambda x: jnp.asarray(x, dtype), problem.start)
    tx = gauss_newton(jnp.asarray(0.1, jnp.float64), probes=2)
    state = tx.init(start)
    new = jax.eval_shape(lambda p, s: step(tx, problem, p, s), start, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, (start, state))
    assert state.solution.dtype == state.damping.dtype == jnp.float32


def test_the_signs_estimate_the_mean_of_the_squared_gradients():
    rng = np.random.default_rng(6)
    x, labels, weights = rng.normal(size=(5, 3)), rng.integers(0, 2, 5), rng.normal(size=(3, 2))

    def mean(outputs):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()

    @jax.jit
    def estimate(point):
        return fisher_diagonal(lambda flat: x @ flat.reshape(3, 2), mean, point, jax.random.key(0), 4000)

    shares = np.exp(x @ weights) / np.exp(x @ weights).sum(1, keepdims=True)
    gradients = x[:, :, None] * (shares - np.eye(2)[labels])[:, None]
    np.testing.assert_allclose(estimate(weights.ravel()), (gradients**2).mean(0).ravel(), rtol=0.1)


def test_the_diagonal_is_an_average_over_the_steps():
    problem = softmax_regression()
    run = descent(
        lambda average: gauss_newton(1e6, cg_limit=1, probes=1, average=average), problem, 3
    )  # it hardly moves
    each = np.asarray(run(0.0)[1].diagonal)
    for average, weights in ((0.5, [1, 2, 4]), (1.0, [1, 1, 1])):
        np.testing.assert_allclose(run(average)[1].diagonal[-1], np.average(each, 0, weights), rtol=1e-4)
    lost = {"kernel": np.full((2, 3), np.nan), "bias": np.zeros(3)}
    assert np.isfinite(run(0.5, lost)[1].diagonal).all()
    assert gauss_newton(1.0).init(problem.start).diagonal is None


def test_it_stays_where_the_loss_is_a_number():
    """Gauss-Newton's first step goes far beyond; and from there it cannot come back."""

    def outputs_fn(params):
        return jnp.where(jnp.abs(params["x"]) < 4, jnp.arctan(params["x"]), jnp.nan)

    run = descent(gauss_newton, Composed(outputs_fn, half_square, {"x": np.array([2.0])}), 12)
    points, states = run(1e-3)
    assert np.isfinite(points["x"]).all()
    assert states.damping[0] > 1e-3
    assert abs(points["x"][-1, 0]) < 1e-6
    points, states = run(1e-3, {"x": np.array([5.0])})
    np.testing.assert_array_equal(points["x"], np.full((12, 1), 5.0))
    assert states.stalled.all()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((states.solution, states.damping)))


def test_it_beats_the_best_gradient_descent_on_an_autoencoder():
    """By a factor of 20 in loss, where a product is charged as one and a half gradients, a loss as half of one."""
    problem = autoencoder()
    points, states = descent(gauss_newton, problem, 20)(0.1)
    end = float(problem.value_fn(jax.tree.map(lambda x: x[-1], points)))
    used = jax.tree.map(lambda x: float(x[-1]), states.counts)
    budget = int(used.gradient + 1.5 * used.ggnvp + 0.5 * used.loss)

    def descend(rate):
        def body(_, params):
            return jax.tree.map(lambda x, g: x - rate * g, params, jax.grad(problem.value_fn)(params))

        return problem.value_fn(jax.lax.fori_loop(0, budget, body, jax.tree.map(jnp.asarray, problem.start)))

    best = float(jnp.nanmin(jax.jit(jax.vmap(descend))(jnp.geomspace(0.1, 10.0, 8))))
    assert end < best / 20


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="gauss_newton: expected at least one CG iteration; got cg_limit=0"):
        gauss_newton(cg_limit=0)
    with pytest.raises(ValueError, match="gauss_newton: expected a number of probes; got probes=-1"):
        gauss_newton(probes=-1)
    with pytest.raises(ValueError, match=r"gauss_newton: expected damping of at least 0; got damping=-1.0"):
        gauss_newton(-1.0)
    with pytest.raises(ValueError, match=r"gauss_newton: expected decay within \[0, 1\]; got decay=2.0"):
        gauss_newton(decay=2.0)
    with pytest.raises(ValueError, match=r"gauss_newton: expected average within \[0, 1\]; got average=-1"):
        gauss_newton(average=-1)
    params = {"x": jnp.ones(2)}
    tx = gauss_newton(0.1)
    with pytest.raises(
        ValueError, match=r"gauss_newton: expected update\(.*\); got missing=\['outputs_fn', 'outputs_loss'\]"
    ):
        tx.update(params, tx.init(params), params, value=jnp.ones(()), grad=params, value_fn=lambda p: p["x"].sum())
