import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from jax231.optim.minimise import Status, minimise
from jax231.optim.run import worthwhile_pairs
from tests import problems


def rosen(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize(
    ("method", "make"),
    [
        ("lbfgs", problems.quadratic),
        ("lbfgs", problems.rosenbrock),
        ("lbfgs", problems.logistic_regression),
        ("newton_cg", problems.rosenbrock),
        ("newton", problems.rosenbrock),
    ],
)
@pytest.mark.usefixtures("x64")
def test_known_minima(method, make):
    problem = make()
    found = minimise(problem.fun, problem.start, method=method, gtol=1e-7)
    assert found.status == Status.CONVERGED
    assert found.converged
    assert found.grad_norm <= 1e-7
    np.testing.assert_allclose(found.value, problem.fun(found.x), rtol=1e-12, atol=1e-15)
    assert found.value <= problem.minimum + 1e-10 * (1 + abs(problem.minimum))


@pytest.mark.usefixtures("x64")
def test_the_minimum_and_the_work_of_scipy():
    start = np.linspace(-1.5, 1.5, 10)
    found = minimise(rosen, start, gtol=1e-6)
    peer = scipy.optimize.minimize(
        jax.jit(rosen), start, jac=jax.jit(jax.grad(rosen)), method="L-BFGS-B", options={"gtol": 1e-6, "ftol": 0}
    )
    np.testing.assert_allclose(found.x, peer.x, atol=1e-4)
    assert found.counts.gradient <= 1.5 * peer.nfev


def test_ends_are_told_apart():
    def fall(x):
        return jnp.sum(x)

    def wall(x):
        return jnp.where(x < 1, jnp.square(x - 2), jnp.nan)

    short = minimise(rosen, jnp.zeros(4), max_steps=2)
    assert (short.status, short.steps, bool(short.converged)) == (Status.STEPS, 2, False)
    assert minimise(rosen, jnp.zeros(4), max_steps=0).status == Status.STEPS
    assert minimise(rosen, jnp.ones(4)).status == Status.CONVERGED
    assert minimise(rosen, jnp.zeros(4), ftol=1.0).status == Status.FLAT
    assert not minimise(fall, jnp.zeros(3), max_steps=50).converged
    around = minimise(lambda x: jnp.abs(x), jnp.float32(0.3), method=optax.sgd(1.0))
    assert around.status == Status.STALLED
    assert around.steps < 30
    tx = optax.sgd(1.0)
    broken = minimise(wall, jnp.float32(0.5), method=tx)
    assert (broken.status, broken.x) == (Status.NOT_FINITE, 0.5)


def test_history_aux_and_arguments_that_do_not_recompile():
    traced = []

    def fun(params, centre):
        traced.append(None)
        value = jnp.square(params["x"] - centre).sum() + jnp.square(params["y"]).sum()
        return value, {"off": params["x"] - centre}

    start = {"x": np.ones(3, np.float32), "y": np.ones((2, 2), np.float32)}
    first = minimise(fun, start, (jnp.zeros(3),), has_aux=True, history=True, max_steps=20, gtol=1e-4)
    often = len(traced)
    second = minimise(fun, start, (jnp.arange(3.0),), has_aux=True, history=True, max_steps=20, gtol=1e-3)
    assert len(traced) == often
    np.testing.assert_allclose(second.x["x"], np.arange(3.0), atol=1e-3)
    np.testing.assert_allclose(second.aux["off"], 0, atol=1e-3)
    lines = str(second).splitlines()
    assert (lines[0], lines[-1]) == ("status    CONVERGED", "x         x float32 (3,), y float32 (2, 2)")
    steps = int(first.steps)
    assert first.history.shape == (21,)
    assert first.history[0] == 7
    assert first.history[steps] == first.value
    assert np.isnan(first.history[steps + 1 :]).all()
    assert (np.diff(first.history[: steps + 1]) <= 0).all()


def test_a_lane_that_has_ended_stays_as_it_is():
    starts = jnp.stack([jnp.ones(4), jnp.zeros(4), jnp.array([-1.2, 1.0, -1.2, 1.0])])
    lanes = jax.jit(jax.vmap(lambda x0: minimise(rosen, x0, gtol=1e-3)))(starts)
    np.testing.assert_array_equal(lanes.status, [Status.CONVERGED] * 3)
    assert lanes.steps[0] == 0 < lanes.steps[1]
    for lane, start in enumerate(starts):
        alone = minimise(rosen, start, gtol=1e-3)
        np.testing.assert_allclose(lanes.x[lane], alone.x, atol=2e-2)
        assert abs(int(lanes.steps[lane]) - int(alone.steps)) <= 3


def test_errors():
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="minimise: expected parameters in floating point; got x0="):
        minimise(jnp.sum, np.arange(3))
    with pytest.raises(ValueError, match=r"minimise: expected a loss that is one floating number; got loss=\(2,\)"):
        minimise(jnp.sin, x)
    with pytest.raises(ValueError, match=r"minimise: .* returns the loss alone \(of a pair: has_aux=True\)"):
        minimise(lambda x: (x.sum(), x), x)
    with pytest.raises(ValueError, match=r"minimise: expected a pair \(value, aux\) from fun with has_aux"):
        minimise(jnp.sum, x, has_aux=True)
    with pytest.raises(ValueError, match="minimise: expected a finite value and gradient at x0"):
        minimise(lambda x: jnp.log(x).sum(), -x)
    with pytest.raises(ValueError, match=r"only the function; got method='kfac', needs=\['outputs_fn', 'outputs_loss'"):
        minimise(rosen, x, method="kfac")
    with pytest.raises(ValueError, match="minimise: expected a second-order method"):
        minimise(rosen, x, method="adam")
    with pytest.raises(ValueError, match="optimizers: expected a name of the catalog; got 'lbgfs'"):
        minimise(rosen, x, method="lbgfs")
    with pytest.raises(ValueError, match="gtol=-1"):
        minimise(rosen, x, gtol=-1)
    with pytest.raises(ValueError, match=r"lbfgs: expected .*memory=0"):
        minimise(rosen, x, options={"memory": 0})


def test_lbfgs_keeps_more_pairs_where_gradients_are_dear():
    x = jnp.zeros(120)
    data = jnp.ones((500, 120))

    def cheap(x):
        return jnp.sum(x * x)

    def dear(x):
        return jnp.sum((data @ jnp.outer(x, x)) ** 2)

    assert worthwhile_pairs(cheap, x) == 10
    assert worthwhile_pairs(dear, x) == 100
    two_products, pair = 2 * 2 * 500 * 120, 7 * 24 * 120
    assert worthwhile_pairs(lambda x: jnp.sum((data @ x) ** 2), x) == 12 >= two_products // pair
    assert worthwhile_pairs(cheap, x[:3]) == 4
