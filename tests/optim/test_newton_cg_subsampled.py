import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim.newton_cg_subsampled import newton_cg_subsampled

pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(0)
X, TARGETS = RNG.normal(size=(60, 4)), RNG.normal(size=60)
PART = slice(0, 15)
START = {"w": np.array([1.0, -2.0, 0.5, 3.0])}


def squares(params, which=slice(None)):
    return 0.5 * jnp.mean((jnp.asarray(X)[which] @ params["w"] - jnp.asarray(TARGETS)[which]) ** 2)


def step(params, state, damping, curvature_fn):
    tx = newton_cg_subsampled(damping, cg_limit=20)
    value, grad = jax.value_and_grad(squares)(params)
    given = {"value": value, "grad": grad, "value_fn": squares, "curvature_fn": curvature_fn}
    updates, state = tx.update(grad, state, params, **given)
    return optax.apply_updates(params, updates), state


@jax.jit
def path(damping):
    """Parameters and state after each of twenty steps, with curvature of a quarter of the examples."""

    def body(carry, _):
        carry = step(*carry, damping, lambda p: squares(p, PART))
        return carry, carry

    start = jax.tree.map(jnp.asarray, START)
    return jax.lax.scan(body, (start, newton_cg_subsampled().init(start)), length=20)[1]


def test_the_system_has_the_hessian_of_the_part_and_the_gradient_of_the_whole():
    """Near the minimum CG solves it well enough to tell."""
    points, _ = path(1.0)
    before, after = np.asarray(points["w"][12:14])
    gradient = X.T @ (X @ before - TARGETS) / 60
    length = np.linalg.norm(gradient)

    def residual(rows):
        return np.linalg.norm((rows.T @ rows / len(rows) + np.eye(4)) @ (after - before) + gradient) / length

    assert residual(X[PART]) <= np.sqrt(length) < 0.1
    assert residual(X) > 0.15


def test_the_loss_of_the_whole_falls_to_its_minimum():
    """With curvature that is wrong everywhere convergence is linear, but it is the whole that is minimised."""
    points, states = path(0.1)
    losses = np.array([squares({"w": w}) for w in points["w"]])
    assert (np.diff(losses) <= 1e-12).all()
    best = np.linalg.lstsq(X, TARGETS, rcond=None)[0]
    np.testing.assert_allclose(points["w"][-1], best, atol=1e-2)
    assert states.counts.hvp[-1] > 10
    np.testing.assert_array_equal(states.counts.gradient, 2 * np.arange(1, 21))
    assert not states.stalled.any()


def test_what_is_missing_or_makes_no_sense_is_named():
    params = {"w": jnp.ones(4)}
    tx = newton_cg_subsampled()
    given = {"value": jnp.ones(()), "grad": params, "value_fn": squares}
    with pytest.raises(ValueError, match=r"newton_cg_subsampled: expected update.*; got missing=\['curvature_fn'\]"):
        tx.update(params, tx.init(params), params, **given)
    with pytest.raises(ValueError, match="newton_cg_subsampled: expected at least one CG iteration; got cg_limit=0"):
        newton_cg_subsampled(cg_limit=0)
