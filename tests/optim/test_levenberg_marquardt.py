import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jax231.optim.levenberg_marquardt import damped_least_squares, levenberg_marquardt
from tests.outputs import Composed, descent, half_square, linear_least_squares, step

pytestmark = pytest.mark.usefixtures("x64")


def rosenbrock(x, xp):
    return xp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


def freudenstein_roth(x, xp):
    return xp.stack([-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]])


def box_3d(x, xp):
    t = 0.1 * np.arange(1, 11)
    return xp.exp(-t * x[0]) - xp.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def exponentials(x, xp):
    """A sum of exponentials with noise: a minimum where residuals remain, and parameters of very different units."""
    t = np.arange(20.0)
    y = 3 * np.exp(-t / 4) + 0.5 + 0.1 * np.cos(5 * t)
    return x[0] * xp.exp(-t * x[1] * 1e-3) + x[2] * 1e3 - y


class Classic(NamedTuple):
    residuals: Callable
    start: tuple[float, ...]


CLASSICS = [
    Classic(rosenbrock, (-1.2, 1.0)),
    Classic(freudenstein_roth, (0.5, -2.0)),
    Classic(box_3d, (0.0, 10.0, 20.0)),
    Classic(exponentials, (1.0, 100.0, 0.0)),
]


@functools.cache
def on_classic(classic):
    problem = Composed(lambda p: classic.residuals(p["x"], jnp), half_square, {"x": np.array(classic.start)})
    return descent(levenberg_marquardt, problem, 60)


@pytest.mark.parametrize("classic", CLASSICS, ids=lambda c: c.residuals.__name__)
def test_it_finds_what_minpack_finds(classic):
    expected = scipy.optimize.least_squares(
        lambda x: classic.residuals(x, np), classic.start, method="lm", ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    points, _ = on_classic(classic)(1e-3)
    end = points["x"][-1]
    np.testing.assert_allclose(end, expected.x, rtol=1e-5, atol=1e-7)
    values = np.array([(classic.residuals(x, np) ** 2).sum() / 2 for x in np.asarray(points["x"])])
    np.testing.assert_allclose(values[-1], expected.cost, rtol=1e-10, atol=1e-20)
    assert (np.diff(values) <= 1e-12 * values[0]).all()


@functools.cache
def on_least_squares():
    return descent(levenberg_marquardt, linear_least_squares()[-1], 3)


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_one_step_is_the_damped_solution_in_the_scale_of_the_columns(damping):
    matrix, offset, problem = linear_least_squares()
    points, states = on_least_squares()(damping)
    square = matrix.T @ matrix
    gradient = matrix.T @ (matrix @ problem.start["x"] - offset)
    expected = problem.start["x"] - np.linalg.solve(square + damping * np.diag(np.diag(square)), gradient)
    np.testing.assert_allclose(points["x"][0], expected, rtol=1e-10)
    assert states.ratio[0] == pytest.approx(1.0, rel=1e-10)  # the model without the damping is the loss itself
    np.testing.assert_allclose(states.damping[0], damping / 3)
    assert (states.counts.loss[0], states.counts.gradient[0], states.counts.ggnvp[0]) == (1, 2, 5)


def test_the_triangle_serves_every_damping():
    rng = np.random.default_rng(0)
    matrix, residual, scale = rng.normal(size=(9, 4)), rng.normal(size=9), np.array([1.0, 2.0, 3.0, 4.0])
    factor = jnp.linalg.qr(jnp.column_stack([matrix, residual]), mode="r")
    solve = jax.jit(damped_least_squares)
    for damping in (0.0, 0.1, 10.0):
        step, decrease = solve(factor, scale, damping)
        expected = -np.linalg.solve(matrix.T @ matrix + damping * np.diag(scale**2), matrix.T @ residual)
        np.testing.assert_allclose(step, expected, rtol=1e-11)
        np.testing.assert_allclose(decrease, (residual @ residual - ((residual + matrix @ step) ** 2).sum()) / 2)


def test_neither_the_units_of_the_parameters_matter_nor_that_of_the_loss():
    def multiple(residuals):
        return 0.2 * half_square(residuals)

    units = np.array([1e-3, 1e2, 1e5])
    start = np.array([1.0, 100.0, 0.0])
    scaled = Composed(lambda p: exponentials(p["x"] * units, jnp), multiple, {"x": start / units})
    one, _ = descent(levenberg_marquardt, scaled, 5)(0.1)
    other, _ = on_classic(CLASSICS[-1])(0.1)
    np.testing.assert_allclose(one["x"] * units, other["x"][:5], rtol=1e-6)


def test_fewer_residuals_than_parameters():
    matrix = np.random.default_rng(0).normal(size=(2, 5))
    run = descent(levenberg_marquardt, Composed(lambda p: matrix @ p["x"] - 1.0, half_square, {"x": np.zeros(5)}), 12)
    points, states = run(1e-2)
    np.testing.assert_allclose(matrix @ points["x"][-1], np.ones(2), rtol=1e-10)
    assert np.isfinite(points["x"]).all()
    singular, states = run(0.0)
    assert not states.stalled[0]  # without damping there is no solution, so some is tried
    np.testing.assert_allclose(matrix @ singular["x"][-1], np.ones(2), rtol=1e-10)


@pytest.mark.parametrize("start", [0.0, np.nan])
def test_at_a_minimum_and_where_nothing_is_a_number_it_stays(start):
    points, states = on_classic(CLASSICS[0])(0.1, {"x": np.array([start, 1.0])} if start else {"x": np.ones(2)})
    np.testing.assert_array_equal(points["x"], np.tile([start or 1.0, 1.0], (60, 1)))
    assert states.stalled.all()
    assert not np.isnan(states.damping).any()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_types_are_kept(dtype):
    start = {"a": {"slope": jnp.asarray(0.5, dtype)}, "b": jnp.asarray([1.0, 0.0], dtype)}
    t = jnp.linspace(0, 1, 7, dtype=dtype)

    def outputs_fn(p):
        return {"first": jnp.exp(p["a"]["slope"] * t) + p["b"][0] - t, "second": 2 * p["b"]}

    tx = levenberg_marquardt(jnp.asarray(0.1, jnp.float64))
    state = tx.init(start)
    new = jax.eval_shape(lambda p, s: step(tx, Composed(outputs_fn, half_square, start), p, s), start, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, (start, state))
    assert state.scale.dtype == state.damping.dtype == jnp.float32


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="levenberg_marquardt: expected a block of at least one column; got block=0"):
        levenberg_marquardt(block=0)
    with pytest.raises(ValueError, match="levenberg_marquardt: expected at least one trial a step; got limit=0"):
        levenberg_marquardt(limit=0)
    with pytest.raises(ValueError, match=r"levenberg_marquardt: expected damping of at least 0; got damping=-1.0"):
        levenberg_marquardt(-1.0)
    params = {"x": jnp.ones(2)}
    tx = levenberg_marquardt(0.1)
    with pytest.raises(ValueError, match=r"levenberg_marquardt: expected update\(.*\); got missing=\['outputs_fn'\]"):
        tx.update(params, tx.init(params), params, value=jnp.ones(()), grad=params, value_fn=lambda p: p["x"].sum())
