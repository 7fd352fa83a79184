import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.optim.minimise import minimise
from jax231.optim.multi_start import multi_start
from jax231.optim.result import Status

STARTS = {"x": np.array([[0.1, 3.0], [-0.2, -1.0], [2.0, 0.5], [0.3, 1.0], [-2.0, 0.0]])}


def wells(params, tilt):
    """Wells at x = -1 and 1 for each entry, the left one lower for a positive `tilt`."""
    x = params["x"]
    return jnp.sum(jnp.log1p((x**2 - 1) ** 2) + tilt * x)


def check(found, alone, lanes):
    np.testing.assert_allclose(found.runs.x["x"], [run.x["x"] for run in alone], atol=1e-6)
    np.testing.assert_array_equal(found.runs.status, [Status.CONVERGED] * 5)
    assert found.best.value == np.min(found.runs.value)
    np.testing.assert_array_equal(found.best.x["x"], found.runs.x["x"][np.argmin(found.runs.value)])
    assert 0 < found.efficiency < 1 if lanes == "vmap" else found.efficiency == 1


@pytest.mark.usefixtures("x64")
def test_all_forms_find_what_each_start_alone_does():
    """In 64 bits, which threads must be told of; in a traced call too, with bounds that are never met."""
    alone = [minimise(wells, {"x": x}, (0.1,), gtol=1e-8) for x in STARTS["x"]]
    for lanes in ("vmap", "map", "auto"):
        found = multi_start(wells, STARTS, (0.1,), lanes=lanes, gtol=1e-8)
        assert found.runs.x["x"].dtype == jnp.float64
        check(found, alone, lanes)
    traced = jax.jit(lambda starts: multi_start(wells, starts, (0.1,), lanes="map", gtol=1e-8))(STARTS)
    check(traced, alone, "map")
    assert traced.best.counts.gradient.shape == ()


def test_one_bad_start_is_told_and_only_bad_ones_are_an_error():
    def fun(x):
        return jnp.log(x).sum() ** 2

    found = multi_start(fun, np.array([[2.0], [-1.0], [0.5]]), lanes="vmap", bounds=(-1, 1.5))
    np.testing.assert_array_equal(found.runs.status, [Status.CONVERGED, Status.NOT_FINITE, Status.CONVERGED])
    assert found.best.converged
    assert str(found.runs).splitlines()[0] == "status    2 CONVERGED, 1 NOT_FINITE"
    with pytest.raises(ValueError, match="multi_start: expected a start with a finite value and gradient"):
        multi_start(fun, np.array([[-2.0], [-1.0], [-0.5]]), lanes="vmap", bounds=(-1, 1.5))


def test_errors():
    with pytest.raises(ValueError, match=r"multi_start: expected lanes to be .*; got lanes='pmap'"):
        multi_start(jnp.sum, np.ones((2, 3)), lanes="pmap")
    for starts in (1.0, np.ones((0, 2)), {"a": np.ones((2, 1)), "b": np.ones((3, 1))}):
        with pytest.raises(ValueError, match="multi_start: expected leaves with one common axis of starts in front"):
            multi_start(jnp.sum, starts)
    with pytest.raises(ValueError, match="multi_start: expected lower bounds"):
        multi_start(jnp.sum, np.ones((2, 3)), bounds=(1, 0))
