"""Against the dense inverse of the textbook, pair by pair."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.optim import limited_memory
from tests.problems import quadratic

pytestmark = pytest.mark.usefixtures("x64")
remember, apply = jax.jit(limited_memory.remember), jax.jit(limited_memory.apply)


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


def remembered(steps, differences, room=5):
    memory = limited_memory.empty(room, jnp.zeros(6))
    for step, difference in zip(steps, differences, strict=True):
        memory = remember(memory, jnp.asarray(step), jnp.asarray(difference))
    return memory


def dense(memory):
    return jax.jit(jax.vmap(limited_memory.apply, (None, 0)))(memory, jnp.eye(6))


@pytest.mark.parametrize("count", [0, 3, 5, 8, 17])
def test_the_matrix_is_the_dense_inverse_of_the_newest_pairs(count):
    steps, differences = pairs(count)
    memory = remembered(steps, differences)
    assert bool(limited_memory.started(memory)) == (count > 0)
    if count:
        s, y = steps[-1], differences[-1]
        np.testing.assert_allclose(memory.scale, s @ y / (y @ y), rtol=1e-12)
    expected = dense_inverse(steps[-5:], differences[-5:], float(memory.scale))
    np.testing.assert_allclose(dense(memory), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("difference", [-1.0, 0.0, np.nan, np.inf])
def test_a_pair_without_positive_curvature_is_left_out(difference):
    steps, differences = pairs(8)
    before = remembered(steps[:7], differences[:7])
    step = jnp.ones(6)
    after = remember(before, step, difference * step)
    chex.assert_trees_all_equal(dense(after), dense(before))
    assert (float(after.scale), int(after.free)) == (float(before.scale), int(before.free))
    np.testing.assert_allclose(dense(remember(after, steps[7], differences[7])), dense(remembered(steps, differences)))


def test_what_is_forgotten_leaves_no_trace():
    steps, differences = pairs(9)
    memory = remembered(steps[:7], differences[:7])
    chex.assert_trees_all_equal(limited_memory.forget(memory, jnp.asarray(False)), memory)
    memory = limited_memory.forget(memory, jnp.asarray(True))
    assert not limited_memory.started(memory)
    np.testing.assert_array_equal(dense(memory), np.eye(6))
    for step, difference in zip(steps[7:], differences[7:], strict=True):
        memory = remember(memory, step, difference)
    np.testing.assert_allclose(dense(memory), dense(remembered(steps[7:], differences[7:])), rtol=1e-12)


def test_exact_steps_end_a_quadratic_after_as_many_as_it_has_dimensions():
    problem = quadratic()
    x, centre = problem.start["x"], problem.minimiser["x"]
    matrix = np.asarray(jax.hessian(problem.fun)({"x": jnp.asarray(x)})["x"]["x"])
    memory = remembered([], [], room=8)
    for _ in range(6):
        gradient = matrix @ (x - centre)
        direction = -np.asarray(apply(memory, gradient))
        step = -(gradient @ direction) / (direction @ matrix @ direction) * direction
        memory = remember(memory, step, matrix @ step)
        x = x + step
    np.testing.assert_allclose(x, centre, atol=1e-9)


def test_single_precision_keeps_its_digits_over_many_pairs():
    """The small inverse is only ever extended: its rounding must not pile up."""
    steps, differences = pairs(300)
    memory = limited_memory.empty(5, jnp.zeros(6, jnp.float32))
    steps, differences = jnp.asarray(steps, jnp.float32), jnp.asarray(differences, jnp.float32)
    memory, _ = jax.lax.scan(lambda m, pair: (limited_memory.remember(m, *pair), None), memory, (steps, differences))
    newest = (np.asarray(x[-5:], np.float64) for x in (steps, differences))
    expected = dense_inverse(*newest, float(memory.scale))
    error = np.linalg.norm(dense(memory) - expected) / np.linalg.norm(expected)
    assert error < 1e-4
    assert tree.norm(memory.inverse).dtype == jnp.float32
