"""What every second-order builder of the catalog keeps; a new entry of order 2 is tested by being there."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.core import tree
from jax231.optim import catalog, reuse
from tests.handed import builder, everything
from tests.problems import logistic_regression, rosenbrock, saddle
from tests.trajectories import descent

ALONE = [entry for entry in catalog.ENTRIES if set(entry.needs) <= {"value_fn"}]
HANDED = [entry for entry in catalog.ENTRIES if entry not in ALONE]
SECOND = {entry.name: entry.builder for entry in ALONE if entry.order == 2}
every_method = pytest.mark.parametrize("name", SECOND)
STEPS = 120  # what Newton-CG takes through the curved valley
TYPES = {
    "float64": (jnp.float64, jnp.float64),
    "float32": (jnp.float32, jnp.float32),
    "bfloat16": (jnp.bfloat16, jnp.bfloat16),
    "mixed": (jnp.bfloat16, jnp.float32),
}


def typed_net(name):
    given, start = everything()
    first, second = TYPES[name]
    return given, {
        "hidden": jax.tree.map(lambda x: jnp.asarray(x, first), start["hidden"]),
        "output": jax.tree.map(lambda x: jnp.asarray(x, second), start["output"]),
    }


def make_step(builder, fun, **more):
    def step(params, state, setting):
        value, grad = reuse.value_and_grad(fun, params, state)
        updates, state = builder(setting).update(grad, state, params, value=value, grad=grad, value_fn=fun, **more)
        return updates, state

    return step


def logistic(dtype):
    problem = logistic_regression()
    return problem.fun, jax.tree.map(lambda x: jnp.asarray(x, dtype), problem.start)


def signature(x):
    return x.shape, x.dtype, x.weak_type


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("entry", "types"),
    [(entry, types) for entry in catalog.ENTRIES for types in TYPES if entry.order == 2 or types == "mixed"],
    ids=lambda x: getattr(x, "name", x),
)
def test_types_are_kept(entry, types):
    """Even where the setting is float64: a scan can carry the state, and the updates are of the parameters' types."""
    given, params = typed_net(types)
    setting, build = jnp.asarray(0.1, jnp.float64), builder(entry)
    state = jax.eval_shape(lambda p, s: build(s).init(p), params, setting)
    updates, new = jax.eval_shape(make_step(build, given.pop("value_fn"), **given), params, state, setting)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
    assert jax.tree.map(signature, new) == jax.tree.map(signature, state)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))


@pytest.mark.usefixtures("x64")
@every_method
def test_settings_share_one_program_and_map_over_lanes(name):
    fun, params = logistic(jnp.float64)
    step = make_step(SECOND[name], fun)

    def advance(carry, setting):
        params, state = carry
        updates, state = step(params, state, setting)
        return optax.apply_updates(params, updates), state

    def three(params, setting):
        carry = params, SECOND[name](setting).init(params)
        return jax.lax.fori_loop(0, 3, lambda _, carry: advance(carry, setting), carry)

    one = jax.jit(three)
    settings = jnp.array([1e-4, 1e-2, 1.0])
    alone = jax.tree.map(lambda *x: np.stack(x), *(one(params, setting) for setting in settings))
    assert one._cache_size() == 1
    lanes = jax.jit(jax.vmap(three, (None, 0)))(params, settings)
    chex.assert_trees_all_close(lanes, alone, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("entry", HANDED, ids=lambda entry: entry.name)
def test_what_asks_for_more_runs_as_lanes_of_one_program_in_narrow_types(entry):
    """A scan under `vmap`, the settings changed about: each lane follows its setting, and lowers the loss."""
    given, params = typed_net("mixed")
    fun = given.pop("value_fn")
    step = make_step(builder(entry), fun, **given)

    def run(setting):
        def advance(carry, _):
            updates, state = step(*carry, setting)
            return (optax.apply_updates(carry[0], updates), state), None

        (end, state), _ = jax.lax.scan(advance, (params, builder(entry)(setting).init(params)), length=4)
        return end, fun(end), state.counts

    lanes = jax.jit(jax.vmap(run))
    settings = jnp.array([0.1, 0.5])
    there, back = lanes(settings), lanes(settings[::-1])
    assert lanes._cache_size() == 1
    chex.assert_trees_all_close(back, jax.tree.map(lambda x: x[::-1], there), rtol=1e-6)
    assert (there[1] < fun(params)).all()
    assert not np.array_equal(there[0]["output"]["weight"][0], there[0]["output"]["weight"][1])
    assert (there[2].gradient >= 4).all()


@every_method
def test_a_step_outside_of_loops_compiles_once_and_works_in_bfloat16(name):
    fun, params = logistic(jnp.bfloat16)
    step = jax.jit(make_step(SECOND[name], fun))
    state = SECOND[name](0.1).init(params)
    for setting in (0.1, 0.2, 0.3):
        updates, state = step(params, state, jnp.asarray(setting, jnp.float32))
        params = optax.apply_updates(params, updates)
    assert step._cache_size() == 1
    end = logistic_regression().fun(jax.tree.map(lambda x: np.asarray(x, np.float32), params))
    assert end < logistic_regression().minimum + 0.05


@pytest.mark.usefixtures("x64")
@every_method
@pytest.mark.parametrize("problem", [rosenbrock, saddle, logistic_regression])
def test_it_finds_the_minimum_and_counts_what_it_evaluates(name, problem):
    """Each evaluation passes `value_fn` once; a Hessian and the products of a linearization share one."""
    problem, calls = problem(), []

    def fun(params):
        jax.debug.callback(lambda: calls.append(1))
        return problem.fun(params)

    points, states = jax.device_get(descent(SECOND[name], fun, STEPS)(problem.start, 1e-8))
    jax.effects_barrier()
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[-1], points), problem.minimiser, rtol=1e-5, atol=1e-5)
    counts = jax.tree.map(lambda x: int(x[-1]), states.counts)
    assert len(calls) == counts.loss + counts.gradient + counts.hessian


@functools.cache
def at_a_point(name):
    """One step on the problem with a saddle, from whatever value and gradient it is told."""
    tx, fun = SECOND[name](0.0), saddle().fun
    step = jax.jit(lambda p, value, grad: tx.update(grad, tx.init(p), p, value=value, grad=grad, value_fn=fun))
    return lambda *arguments: step(*jax.tree.map(jnp.float32, arguments))


@every_method
@pytest.mark.parametrize("case", ["minimum", "not a number"])
def test_where_it_cannot_descend_it_stays_and_says_so(name, case):
    params = {"x": np.array([0.0, 1.0])}
    grad = {"x": np.array([0.0 if case == "minimum" else np.nan, 0.0])}
    updates, state = at_a_point(name)(params, 0.0, grad)
    chex.assert_trees_all_equal(updates, tree.zeros_like(updates))
    assert state.stalled


@every_method
def test_a_loop_that_passes_gradients_only_is_told_what_is_missing(name):
    params = {"x": jnp.ones(2)}
    tx = SECOND[name](0.1)
    expected = rf"{name}: expected update\(grads, state, params, value=..., grad=..., value_fn=...\); got missing="
    with pytest.raises(ValueError, match=expected + r"\['value', 'grad', 'value_fn'\]"):
        tx.update(params, tx.init(params), params)
    with pytest.raises(ValueError, match=expected + r"\['value_fn'\]"):
        tx.update(params, tx.init(params), params, value=jnp.ones(()), grad=params)


@every_method
def test_a_negative_damping_is_refused_where_it_can_be_seen(name):
    for damping in (-1.0, jnp.asarray(-1.0)):
        with pytest.raises(ValueError, match=f"{name}: expected damping of at least 0; got damping=-1.0"):
            SECOND[name](damping)
    known = jnp.asarray(0.1)
    jax.eval_shape(lambda p: SECOND[name](known).init(p), jnp.ones(2))
    jax.eval_shape(lambda d: SECOND[name](d).init(jnp.ones(2)), known)
