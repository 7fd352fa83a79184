import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jax231.core import tree
from jax231.optim.newton_cg_trust import newton_cg_trust
from tests.problems import rosenbrock, saddle
from tests.trajectories import descent

pytestmark = pytest.mark.usefixtures("x64")


def test_it_takes_about_as_many_steps_as_scipy():
    value, gradient, hessian = scipy.optimize.rosen, scipy.optimize.rosen_der, scipy.optimize.rosen_hess
    theirs = scipy.optimize.minimize(
        value, [-1.2, 1.0], jac=gradient, hess=hessian, method="trust-ncg", options={"gtol": 1e-6}
    )
    points, _ = descent(newton_cg_trust, rosenbrock().fun, 40)(rosenbrock().start, 0.0)
    small = [np.linalg.norm(gradient(x)) <= 1e-6 for x in points["x"]]
    assert any(small)
    assert small.index(True) + 1 <= theirs.nit


def test_radii_are_lanes_of_one_scan_that_leaves_the_saddle():
    """Where the Hessian is indefinite the steps end on the rim, and the radius doubles."""
    problem = saddle()

    def run(radius):
        return descent(lambda damping: newton_cg_trust(damping, radius=radius), problem.fun, 12)(problem.start, 0.0)

    points, states = jax.vmap(run)(jnp.array([0.05, 0.2, 5.0]))
    values = jax.vmap(jax.vmap(problem.fun))(points)
    assert (jnp.diff(values) <= 0).all()
    assert (values[:, -1] < 1e-12).all()
    np.testing.assert_allclose(states.radius[0, :3], [0.1, 0.2, 0.4])
    assert states.counts.loss[2, 1] > 2  # along negative curvature the longest one goes too far, and is tried again
    assert states.radius[2, 1] < 5


def test_between_walls_it_gives_up_and_keeps_its_radius():
    tx = newton_cg_trust(tries=4)
    start = {"x": jnp.array([3.0, -1.0], jnp.float32)}

    @jax.jit
    def step(wall):
        def fun(params):
            return jnp.sum((params["x"] - 1) ** 2) + wall

        grad = jax.grad(fun)(start)
        return tx.update(grad, tx.init(start), start, value=jnp.float32(8.0), grad=grad, value_fn=fun)

    updates, state = step(jnp.float32(np.nan))
    chex.assert_trees_all_equal(updates, tree.zeros_like(start))
    assert (bool(state.stalled), int(state.counts.loss), float(state.radius)) == (True, 4, 1.0)
    updates, state = step(jnp.float32(0.0))
    np.testing.assert_allclose(tree.norm(updates), 1.0, rtol=1e-6)
    assert (bool(state.stalled), int(state.counts.loss), float(state.radius)) == (False, 1, 2.0)


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="newton_cg_trust: expected at least one CG iteration; got cg_limit=0"):
        newton_cg_trust(cg_limit=0)
    with pytest.raises(ValueError, match="newton_cg_trust: expected at least one try a step; got tries=0"):
        newton_cg_trust(tries=0)
    with pytest.raises(ValueError, match=r"newton_cg_trust: expected radius above 0; got radius=-1.0"):
        newton_cg_trust(radius=-1.0)
