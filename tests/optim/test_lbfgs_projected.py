"""L-BFGS within bounds, against SciPy's L-BFGS-B and NNLS, and the first-order conditions at what it finds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jax231.core import tree
from jax231.optim.lbfgs_projected import lbfgs_projected, projected_wolfe, reduced
from jax231.optim.minimise import Status, minimise

pytestmark = pytest.mark.usefixtures("x64")


def rosen(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@functools.cache
def least_squares():
    """A badly conditioned matrix, and a target whose solution leaves the unit box in most entries."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(10, 10)))[0] for _ in range(2))
    return left @ np.diag(np.geomspace(1, 100, 10)) @ right, 30 * rng.normal(size=10)


def problem(x, which):
    """One of three by its number, so that a single program is compiled for all."""
    matrix, target = least_squares()
    cases = [rosen, lambda x: jnp.sum((matrix @ x - target) ** 2) / 2, lambda x: jnp.arange(-5.0, 5.0) @ x]
    return jax.lax.switch(which, cases, x)


def assert_stationary(gradient, x, lower, upper, tolerance):
    """Karush, Kuhn and Tucker: feasible; no descent inside, and on a bound only across it."""
    assert ((lower <= x) & (x <= upper)).all()
    assert (np.where(x > lower, gradient, 0) <= tolerance).all()
    assert (np.where(x < upper, gradient, 0) >= -tolerance).all()


WAVE = np.linspace(-1.5, 1.5, 10)
INF = np.full(10, np.inf)

BOXES = {
    "no bound active": (0, WAVE, -10, 10),
    "one active": (0, WAVE, -2, 0.5),
    "most active, start outside": (0, 0 * WAVE, 1.2, 3),
    "open and fixed sides": (0, 0 * WAVE, np.r_[0.5, -INF[1:]], np.r_[0.5, -0.5, INF[2:]]),
    "quadratic": (1, 0 * WAVE, -0.5, np.linspace(0, 1, 10)),
    "linear": (2, 0 * WAVE + 0.3, -1, 2),
}


@pytest.mark.parametrize("box", BOXES)
def test_the_minimum_of_scipy_for_no_more_work(box):
    which, start, *bounds = BOXES[box]
    lower, upper = (np.broadcast_to(bound, start.shape) for bound in bounds)
    found = minimise(problem, start, (which,), bounds=(lower, upper), gtol=1e-7)
    evaluate = jax.jit(jax.value_and_grad(problem), static_argnums=1)
    peer = scipy.optimize.minimize(
        evaluate,
        start,
        (which,),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(lower, upper, strict=True)),
        options={"gtol": 1e-7, "ftol": 0, "maxiter": 1000},
    )
    assert found.status == Status.CONVERGED
    assert found.grad_norm <= 1e-7
    assert_stationary(evaluate(found.x, which)[1], found.x, lower, upper, 1e-7)
    np.testing.assert_allclose(found.value, peer.fun, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.x, peer.x, atol=1e-6)
    np.testing.assert_array_equal(found.x == lower, peer.x == lower)
    np.testing.assert_array_equal(found.x == upper, peer.x == upper)
    assert found.counts.gradient <= 1.25 * peer.nfev + 3


def test_nonnegative_least_squares():
    found = minimise(problem, WAVE, (1,), bounds=(0 * WAVE, INF), gtol=1e-9)
    expected, _ = scipy.optimize.nnls(*least_squares())
    np.testing.assert_allclose(found.x, expected, atol=1e-9)
    np.testing.assert_array_equal(found.x == 0, expected == 0)
    assert 2 < np.sum(expected == 0) < 8


def test_bounds_out_of_reach_change_nothing():
    for settings, tolerance in (({"max_steps": 5}, 1e-12), ({"gtol": 1e-8}, 1e-9)):
        bounded, free = (minimise(problem, WAVE, (0,), bounds=b, **settings) for b in ((-INF, INF), None))
        np.testing.assert_allclose(bounded.x, free.x, rtol=tolerance, atol=tolerance)
        assert bounded.status == free.status


def test_every_point_lies_within_and_lanes_and_other_bounds_run_in_one_program():
    """Each evaluation is looked at, the search's too, under vmap over starts and bounds, on a tree."""
    lower = jnp.array([-0.5, 0.1, 1.5])
    outside, traced = [], []

    def fun(params, low):
        traced.append(None)
        x = jnp.concatenate([params["a"], params["b"].ravel()])
        jax.debug.callback(lambda bad: outside.append(bool(bad)), ((x < low) | (x > low + 1)).any())
        return rosen(x)

    @jax.jit
    @jax.vmap
    def lanes(low):
        start = {"a": jnp.full(2, 3.0), "b": jnp.zeros((8, 1))}
        return minimise(fun, start, (low,), bounds=(low, low + 1), gtol=1e-7)

    found = lanes(lower)
    jax.effects_barrier()
    assert len(outside) > 30
    assert not any(outside)
    np.testing.assert_array_equal(found.status, [Status.CONVERGED] * 3)
    often = len(traced)
    lanes(lower + 0.1)
    assert len(traced) == often
    for lane, low in enumerate(lower):
        start = np.r_[np.full(2, 3.0), np.zeros(8)]
        alone = minimise(problem, start, (0,), bounds=(np.full(10, low), np.full(10, low + 1)), gtol=1e-7)
        joined = np.concatenate([found.x["a"][lane], found.x["b"][lane].ravel()])
        np.testing.assert_allclose(joined, alone.x, atol=1e-6)


def test_the_reduced_product_is_the_inverse_of_the_free_block():
    """With pairs that span the free entries, of a quadratic whose Hessian does not mix free and held ones."""
    rng = np.random.default_rng(2)
    free = np.array([True, False, True, True, False])
    root = rng.normal(size=(5, 5)) * (free[:, None] == free)
    hessian = root @ root.T + np.eye(5)
    steps = np.zeros((8, 5))
    steps[2:5, free] = np.linalg.eigh(hessian[np.ix_(free, free)])[1].T
    steps[5:7] = rng.normal(size=(2, 5)) * ~free  # nothing among the free: to be left out
    vector = rng.normal(size=5)
    product = reduced(*map(jnp.asarray, (steps, steps @ hessian, 1.0, free, vector)))
    expected = np.zeros(5)
    expected[free] = np.linalg.solve(hessian[np.ix_(free, free)], vector[free])
    np.testing.assert_allclose(product, expected, rtol=1e-12)


def test_the_search_meets_weak_wolfe_on_the_bent_arc():
    lower, upper = jnp.full(3, -1.0), jnp.full(3, 1.0)
    centre = jnp.array([0.9, -5.0, 5.0])
    evaluate = jax.value_and_grad(lambda x: 0.5 * jnp.sum((x - centre) ** 2))
    point = jnp.zeros(3)
    value, gradient = evaluate(point)

    @jax.jit
    def search(factor):
        direction = -factor * gradient
        return projected_wolfe(evaluate, point, direction, value, gradient, lower, upper)

    for factor in (1e-3, 0.3, 1.0, 50.0):
        found = search(factor)
        new = jnp.clip(point - found.step * factor * gradient, lower, upper)
        np.testing.assert_allclose((found.value, *found.gradient), (evaluate(new)[0], *evaluate(new)[1]))
        assert found.value <= value + 1e-4 * gradient @ (new - point)
        ahead = np.where(np.abs(new) < 1, -factor * gradient, 0)
        assert found.gradient @ ahead >= 0.9 * found.gradient @ (-factor * gradient)
        assert found.evaluations <= 8


def test_the_update_keeps_types_and_a_narrow_one_converges_too():
    params = {"a": jnp.full(3, 2.0, jnp.float32), "b": jnp.full(3, 2.0, jnp.bfloat16)}

    def fun(p):
        return jnp.sum((p["a"] + 1) ** 2) + jnp.sum((p["b"].astype(jnp.float32) - 1) ** 2)

    def update(params):
        tx = lbfgs_projected((0, np.inf), damping=jnp.float32(0.1))
        value, grad = jax.value_and_grad(fun)(params)
        state = tx.init(params)
        return state, tx.update(grad, state, params, value=value, grad=grad, value_fn=fun)

    state, (updates, new) = jax.eval_shape(update, params)
    for before, after in ((params, updates), (state, new)):
        assert jax.tree.map(lambda x: (x.shape, x.dtype), before) == jax.tree.map(lambda x: (x.shape, x.dtype), after)
    found = minimise(fun, params, bounds=(0, np.inf), gtol=1e-3)
    assert found.converged
    assert tree.norm(found.x["a"]) == 0


def test_errors():
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="minimise: expected method=\"lbfgs\" with bounds; got method='bfgs'"):
        minimise(rosen, x, method="bfgs", bounds=(0, 1))
    with pytest.raises(ValueError, match=r"minimise: expected lower bounds of at most the upper ones; got lower=2.0"):
        minimise(rosen, x, bounds=(2, 1))
    with pytest.raises(ValueError, match="lbfgs_projected: expected a memory of at least one pair; got memory=0"):
        minimise(rosen, x, bounds=(0, 1), options={"memory": 0})
    with pytest.raises(ValueError, match="lbfgs_projected: expected at least one evaluation"):
        lbfgs_projected((0, 1), evaluations=0)
    with pytest.raises(ValueError, match="lbfgs_projected: expected damping of at least 0"):
        lbfgs_projected((0, 1), -1.0)
