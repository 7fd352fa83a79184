import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.optim.adam import adam
from jax231.optim.schedule_free import evaluation_params, schedule_free, schedule_free_sgd

START = np.array([1.0, -2.0])


def gradient(x):
    return np.array([1.0, 30.0]) * x + 0.5


def run(tx, steps):
    def step(carry, _):
        y, state = carry
        updates, state = tx.update(jnp.array([1.0, 30.0]) * y + 0.5, state, y)
        y = y + updates
        return (y, state), (y, evaluation_params(state, y))

    return jax.jit(lambda y: jax.lax.scan(step, (y, tx.init(y)), length=steps)[1])(jnp.asarray(START))


def definition(direction, rates, steps, b1=0.9):
    """x is the mean of the z so far, weighed by the square of the largest rate so far; gradients at y."""
    z = x = y = START
    weights = 0.0
    for t in range(steps):
        z = z - rates(t) * direction(t, gradient(y))
        weight = max(rates(s) for s in range(1, t + 2)) ** 2
        weights += weight
        x = x + weight / weights * (z - x)
        y = b1 * x + (1 - b1) * z
        yield y, x


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("warm_up", [0, 4])
def test_it_is_its_definition(warm_up):
    def rates(t):
        return 0.02 * min(t / warm_up, 1) if warm_up else 0.02

    v = np.zeros(2)

    def normalised(t, g):
        nonlocal v
        v = 0.999 * v + 0.001 * g**2
        return g / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)

    for tx, direction in (
        (schedule_free_sgd(0.02, warm_up=warm_up), lambda _, g: g),
        (schedule_free(0.02, warm_up=warm_up), normalised),
    ):
        points, means = run(tx, 12)
        expected = list(definition(direction, rates, 12))
        chex.assert_trees_all_close(points, np.stack([y for y, _ in expected]), rtol=1e-9)
        chex.assert_trees_all_close(means, np.stack([x for _, x in expected]), rtol=1e-9)


def test_the_mean_has_the_types_of_the_parameters():
    params = {"w": jnp.ones(2, jnp.bfloat16)}
    tx = schedule_free(0.1)
    means = jax.eval_shape(lambda p: evaluation_params(tx.update(p, tx.init(p), p)[1], p), params)
    chex.assert_trees_all_equal_shapes_and_dtypes(means, params)


def test_wrong_uses_are_named():
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="evaluation_params: expected the state of a schedule-free method; got state="):
        evaluation_params(adam(0.1).init(x), x)
    with pytest.raises(ValueError, match=r"schedule_free: expected b1 above 0; got b1=0.0"):
        schedule_free(0.1, 0.0)
    with pytest.raises(ValueError, match=r"schedule_free_sgd: expected rate above 0; got rate=-1.0"):
        schedule_free_sgd(-1.0)
