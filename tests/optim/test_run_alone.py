from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jax231.optim import run_alone
from jax231.optim.minimise import minimise
from jax231.optim.run import prepare
from jax231.optim.run_alone import plain, small_form

START = {"x": np.array([-1.2, 1.0, 0.7], np.float32), "y": np.float32(2.0)}
SETTINGS = {
    "method": "lbfgs", "options": None, "bounds": None, "gtol": 1e-4, "ftol": 0.0, "max_steps": 60, "has_aux": True,
    "history": True,
}  # fmt: skip


def valley(params, centre):
    x, y = params["x"], params["y"]
    return jnp.sum(10 * (x[1:] - x[:-1] ** 2) ** 2) + jnp.sum((x - centre) ** 2) + y**2, {"sum": x.sum()}


def test_a_small_run_is_the_plain_one():
    """Value for value where rounding allows, with the same types and shapes."""
    program, limits = prepare("minimise", valley, START, (np.float32(1),), **SETTINGS)
    assert small_form(program, START, (np.float32(1),), limits) is not None
    found = run_alone.run_alone(program, START, (np.float32(1),), limits)
    expected = plain(program, START, (np.float32(1),), limits)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert bool(found.converged)
    assert abs(int(found.steps) - int(expected.steps)) <= 1
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
    np.testing.assert_allclose(found.x["x"], expected.x["x"], atol=1e-3)
    np.testing.assert_allclose(found.aux["sum"], found.x["x"].sum(), rtol=1e-6)
    assert isinstance(found.value, np.float32)


def test_others_run_in_kernels():
    program, limits = prepare(
        "minimise", lambda x: jnp.sort(x)[0] ** 2, START["x"], (), **SETTINGS | {"has_aux": False}
    )
    assert small_form(program, START["x"], (), limits) is None
    traced = jax.jit(lambda x: minimise(valley, x, (1.0,), has_aux=True))(START)
    assert isinstance(traced.value, jax.Array)


def test_answers_are_forgotten(monkeypatch):
    monkeypatch.setattr(run_alone, "_FORMS", {})
    monkeypatch.setattr(run_alone, "_ROOM", 2)
    for power in range(4):
        fun = partial(lambda x, power: x**power, power=power + 2)
        program, limits = prepare("minimise", fun, START["y"], (), **SETTINGS | {"has_aux": False})
        assert small_form(program, START["y"], (), limits) is not None
    assert [program.fun.keywords["power"] for program, *_ in run_alone._FORMS] == [4, 5]
