"""Both searches run on functions picked by index, so that one compiled program serves every example."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import strategies as st

from jax231.optim.linesearch import backtracking, strong_wolfe
from tests.problems import rosenbrock

DECREASE, CURVATURE, LIMIT = 1e-4, 0.9, 25

FAMILIES = {
    "quadratic": lambda x, a, b: a * (x[0] - b) ** 2,
    "cubic": lambda x, a, b: a * (jnp.abs(x[0]) ** 3 / 3 - b * x[0]),
    "waves": lambda x, a, b: jnp.cos(a * x[0]) + 0.01 * (x[0] - b) ** 2,
    "exponential": lambda x, a, b: jnp.exp(a * x[0]) + jnp.exp(b - x[0]),
    "barrier": lambda x, a, b: -jnp.log(a - x[0]) - b * x[0],  # not a number from x = a on
    "valley": lambda x, a, b: rosenbrock().fun({"x": x}),
    "lifted": lambda x, a, b: 1 + 0.5 * x[0] ** 2,
    "endless": lambda x, a, b: -x[0],
    "edge": lambda x, a, b: jnp.where(x[0] > 0, jnp.nan, -x[0]),
}
NAMES = list(FAMILIES)
ON_A_LINE = NAMES[:5]


def picked(family, a, b):
    return lambda x: jax.lax.switch(family, [lambda x, f=f: f(x, a, b) for f in FAMILIES.values()], x)


@jax.jit
def _wolfe(family, point, direction, first, a, b):
    evaluate = jax.value_and_grad(picked(family, a, b))
    value, gradient = evaluate(point)
    found = strong_wolfe(evaluate, point, direction, value, gradient, first=first, limit=LIMIT)
    return found, (value, gradient), evaluate(point + found.step * direction)


@jax.jit
def _backtracked(family, point, direction, a, b):
    fun = picked(family, a, b)
    value, gradient = jax.value_and_grad(fun)(point)
    return backtracking(fun, point, direction, value, gradient), (value, gradient)


def wolfe(name, point, direction, first=1.0, a=1.0, b=1.0):
    """What the search finds, value and gradient where it starts, and both evaluated afresh where it ends."""
    point = jnp.asarray([*point, 0.0][:2])  # every program sees two coordinates
    direction = jnp.asarray([*direction, 0.0][:2])
    return _wolfe(NAMES.index(name), point, direction, *map(jnp.asarray, (first, a, b)))


def backtracked(name, point, direction, a=1.0, b=1.0):
    point, direction = jnp.asarray([*point, 0.0][:2]), jnp.asarray([*direction, 0.0][:2])
    return _backtracked(NAMES.index(name), point, direction, *map(jnp.asarray, (a, b)))


@pytest.mark.usefixtures("x64")
@hypothesis.given(
    st.sampled_from(ON_A_LINE), st.floats(0.1, 5), st.floats(0.1, 5), st.floats(-1, 0.09), st.floats(1e-3, 1e2)
)
@hypothesis.settings(max_examples=80)
def test_a_step_satisfies_both_conditions(name, a, b, start, first):
    slope = float(wolfe(name, [start], [0.0], first, a, b)[1][1][0])
    hypothesis.assume(abs(slope) > 1e-3)
    found, (value, _), (value_there, gradient_there) = jax.device_get(
        wolfe(name, [start], [-np.sign(slope)], first, a, b)
    )
    assert found.step > 0
    assert found.value <= value - DECREASE * found.step * abs(slope)
    assert abs(found.gradient[0]) <= CURVATURE * abs(slope)
    assert found.evaluations <= LIMIT
    np.testing.assert_allclose(found.value, value_there, rtol=1e-12)
    np.testing.assert_allclose(found.gradient, gradient_there, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_a_good_first_step_costs_one_evaluation():
    found, *_ = wolfe("quadratic", [0.0], [1.0])
    assert (found.evaluations, found.step) == (1, 1.0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("first", [2.5, 100.0, 1e6])
def test_steps_over_the_edge_are_shortened(first):
    found, (value, _), (value_there, _) = wolfe("barrier", [0.0], [1.0], first, a=2.0, b=3.0)
    assert 0 < found.step < 2
    assert value_there < value


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("direction", [1.0, 0.0, np.nan])
def test_a_direction_that_does_not_descend_gets_a_step_of_zero(direction):
    found, (value, gradient), _ = wolfe("lifted", [1.0], [direction])
    assert (found.step, found.value, found.evaluations) == (0, value, 0)
    np.testing.assert_array_equal(found.gradient, gradient)


@pytest.mark.usefixtures("x64")
def test_the_limit_ends_a_search_without_a_minimum():
    endless, *_ = wolfe("endless", [0.0], [1.0])
    assert (endless.evaluations, endless.value) == (LIMIT, -endless.step)
    nowhere, *_ = wolfe("edge", [0.0], [1.0])
    assert (nowhere.evaluations, nowhere.step, nowhere.value) == (LIMIT, 0, 0)


@pytest.mark.usefixtures("x64")
def test_the_conditions_of_scipy():
    """From points all over the valley SciPy's own search and ours end where the same two conditions hold."""
    value, gradient = scipy.optimize.rosen, scipy.optimize.rosen_der
    for point in np.random.default_rng(0).uniform(-2, 2, (20, 2)):
        direction = -gradient(point)
        slope = -(direction @ direction)
        theirs = scipy.optimize.line_search(value, gradient, point, direction, c1=DECREASE, c2=CURVATURE)
        ours, *_ = wolfe("valley", point, direction)
        for step in (theirs[0], float(ours.step)):
            end = point + step * direction
            assert value(end) <= value(point) + DECREASE * step * slope
            assert abs(gradient(end) @ direction) <= CURVATURE * abs(slope)
        assert ours.evaluations <= theirs[1]


@pytest.mark.parametrize("x", [1e-4, 3e-5, 1e-6])
def test_a_newton_step_near_the_minimum_is_accepted_in_float32(x):
    """The loss 1 + x^2 / 2 no longer falls between `x` and 0, yet the slope says that the step is right."""
    found, (value, _), _ = wolfe("lifted", [x], [-0.9 * x])
    assert (found.step, found.evaluations, found.value) == (1, 1, value)


@pytest.mark.parametrize("first", [1e-3, 0.01, 0.05])
def test_rounding_does_not_hide_that_a_step_is_too_short_in_float32(first):
    """The gain of so short a step drowns in rounding; the slope asks for a longer one."""
    found, *_ = wolfe("lifted", [3e-4], [-3e-4], first)
    assert 0.1 <= found.step <= 1.9


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("length", [1e-3, 0.1, 1.0, 7.0])
def test_backtracking_takes_the_first_step_with_enough_decrease(length):
    point = np.array([-1.2, 1.0])
    direction = -length * scipy.optimize.rosen_der(point)
    found, (value, gradient) = backtracked("valley", point, direction)
    steps = 0.5 ** np.arange(30)
    values = np.array([scipy.optimize.rosen(point + s * direction) for s in steps])
    enough = list(values <= value + DECREASE * steps * float(gradient @ direction))
    assert found.step == steps[enough.index(True)]
    assert found.evaluations == enough.index(True) + 1
    np.testing.assert_allclose(found.value, values[enough.index(True)], rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_backtracking_comes_back_from_where_the_loss_is_not_a_number():
    found, (value, _) = backtracked("barrier", [0.0], [100.0], a=2.0, b=3.0)
    assert 0 < found.step * 100 < 2
    assert found.value < value


@pytest.mark.usefixtures("x64")
def test_backtracking_gives_up():
    uphill, (value, _) = backtracked("lifted", [1.0], [1.0])
    assert (uphill.step, uphill.value, uphill.evaluations) == (0, value, 1)
    nowhere, (value, _) = backtracked("edge", [0.0], [1.0])
    assert (nowhere.step, nowhere.value, nowhere.evaluations) == (0, value, 30)


def test_backtracking_accepts_a_newton_step_near_the_minimum_in_float32():
    found, _ = backtracked("lifted", [1e-4], [-0.9e-4])
    assert (found.step, found.evaluations) == (1, 1)
