import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.core import tree
from jax231.curvature.products import ggn
from jax231.optim.natural_gradient import empirical_natural_gradient, natural_gradient
from tests.outputs import Composed, descent, step

pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(7)
X, LABELS = RNG.normal(size=(8, 2)), RNG.integers(0, 3, 8)
START = {
    "hidden": {"kernel": RNG.normal(size=(2, 3))},
    "output": {"kernel": RNG.normal(size=(3, 3)), "bias": np.zeros(3)},
}


def logits(params):
    h = jnp.tanh(X.astype(params["output"]["bias"].dtype) @ params["hidden"]["kernel"])
    return h @ params["output"]["kernel"] + params["output"]["bias"]


def per_example(params):
    return optax.softmax_cross_entropy_with_integer_labels(logits(params), LABELS)


NET = Composed(logits, lambda outputs: optax.softmax_cross_entropy_with_integer_labels(outputs, LABELS).mean(), START)


UNRAVEL = tree.ravel(START)[1]
every_builder = pytest.mark.parametrize("builder", [natural_gradient, empirical_natural_gradient])


def raveled(params):
    return np.concatenate([np.asarray(x).ravel() for x in jax.tree.leaves(params)])


@functools.cache
def fisher_by_enumeration():
    """The mean over the examples of the expectation, over the labels that the model draws, of g g'."""

    def log_probabilities(flat):
        return jax.nn.log_softmax(logits(UNRAVEL(flat)))

    scores, shares = jax.jit(jax.jacobian(log_probabilities))(raveled(START)), np.exp(log_probabilities(raveled(START)))
    return np.einsum("nk,nki,nkj->ij", shares, scores, scores) / len(X)


def test_fisher_equals_gauss_newton_for_softmax():
    found = jax.jit(lambda p: ggn(logits, NET.outputs_loss, p))(jax.tree.map(jnp.asarray, START))
    np.testing.assert_allclose(found, fisher_by_enumeration(), rtol=1e-10, atol=1e-14)


@functools.cache
def on_net(builder):
    return descent(builder, NET, 5, per_example_fn=per_example)


@every_builder
def test_the_step_solves_the_damped_system_as_far_as_it_should(builder):
    damping = 1e-2
    points, states = on_net(builder)(damping)
    gradients = np.asarray(jax.jit(jax.jacobian(lambda flat: per_example(UNRAVEL(flat))))(raveled(START)))
    matrix = gradients.T @ gradients / len(X) if builder is empirical_natural_gradient else fisher_by_enumeration()
    gradient = gradients.mean(0)
    taken = raveled(jax.tree.map(lambda x: x[0], points)) - raveled(START)
    assert states.counts.loss[0] == 1  # the whole step
    length = np.linalg.norm(gradient)
    residual = np.linalg.norm(matrix @ taken + damping * taken + gradient)
    assert residual <= min(0.5, np.sqrt(length)) * length
    np.testing.assert_array_equal(states.counts.ggnvp, np.cumsum(states.cg_iterations))
    end = jax.tree.map(lambda x: x[-1], points)
    assert NET.value_fn(end) < 0.5 * NET.value_fn(START)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@every_builder
def test_types_are_kept(builder, dtype):
    tx = builder(jnp.asarray(0.1, jnp.float64))
    start = jax.tree.map(lambda x: jnp.asarray(x, dtype), START)
    state = tx.init(start)
    new = jax.eval_shape(lambda p, s: step(tx, NET, p, s, per_example_fn=per_example), start, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, (start, state))


@every_builder
def test_steps_that_are_not_numbers_stall(builder):
    broken = jax.tree.map(lambda x: x * np.nan, START)
    points, states = on_net(builder)(0.1, broken)
    assert all(np.isnan(x).all() for x in jax.tree.leaves(points))
    assert states.stalled.all()
    assert not states.cg_iterations.any()


def test_bad_arguments_are_refused():
    params = {"x": jnp.ones(2)}
    for builder, needed in (
        (natural_gradient, "'outputs_fn', 'outputs_loss'"),
        (empirical_natural_gradient, "'per_example_fn'"),
    ):
        name = builder.__name__
        with pytest.raises(ValueError, match=f"{name}: expected at least one CG iteration; got cg_limit=0"):
            builder(cg_limit=0)
        with pytest.raises(ValueError, match=f"{name}: expected damping of at least 0; got damping=-1.0"):
            builder(-1.0)
        tx = builder(0.1)
        with pytest.raises(ValueError, match=rf"{name}: expected update\(.*\); got missing=\[{needed}\]"):
            tx.update(params, tx.init(params), params, value=jnp.ones(()), grad=params, value_fn=lambda p: p["x"].sum())
    with pytest.raises(
        ValueError, match=r"empirical_natural_gradient: expected one loss an example \(n,\); got losses=\(\)"
    ):
        descent(empirical_natural_gradient, NET, 1, per_example_fn=NET.value_fn)(0.1)
