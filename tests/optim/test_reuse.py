import chex
import jax
import jax.numpy as jnp
import pytest

from jax231.optim.reuse import Kept, value_and_grad


def fun(params):
    return jnp.sum(params["w"] ** 2)


PARAMS = {"w": jnp.arange(3.0)}


class State(tuple):
    """An optimizer's state that keeps an evaluation."""

    kept: Kept

    def __new__(cls, kept):
        state = super().__new__(cls)
        state.kept = kept
        return state


def kept(known, value=-1.0):
    return State(Kept(jnp.asarray(known), jnp.asarray(value, float), {"w": jnp.full(3, 7.0)}))


def test_a_known_evaluation_is_handed_on():
    value, grad = value_and_grad(fun, PARAMS, kept(True))
    chex.assert_trees_all_equal((value, grad), (jnp.float32(-1.0), {"w": jnp.full(3, 7.0)}))


@pytest.mark.parametrize("state", [kept(False), (), None])
def test_otherwise_it_is_evaluated_afresh(state):
    chex.assert_trees_all_equal(value_and_grad(fun, PARAMS, state), jax.value_and_grad(fun)(PARAMS))


def test_a_known_evaluation_costs_none():
    calls = []

    def counted(params):
        jax.debug.callback(lambda: calls.append(1))
        return fun(params)

    evaluate = jax.jit(lambda known: value_and_grad(counted, PARAMS, kept(known)))
    jax.block_until_ready([evaluate(True), evaluate(False), evaluate(True)])
    jax.effects_barrier()
    assert len(calls) == 1


def test_an_objective_of_another_type_is_cast_to_that_of_the_state():
    value, _ = value_and_grad(lambda p: fun(p).astype(jnp.bfloat16), PARAMS, kept(False))
    assert value.dtype == jnp.float32
