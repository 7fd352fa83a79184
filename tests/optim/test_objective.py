import jax
import jax.numpy as jnp
import optax
import pytest

from jax231.optim.adam import adam
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.nesterov import nesterov_lookahead
from jax231.optim.objective import hidden, scalar, seen_through

X = jnp.ones(2)


@pytest.mark.parametrize(
    ("fun", "message"),
    [
        (lambda x: (x.sum(), x), r"here: expected an objective that returns the loss alone .*; got returned='tuple'"),
        (lambda x: x**2, r"here: expected a loss that is one floating number; got loss=\(2,\), dtype='float32'"),
        (lambda x: jnp.argmax(x), r"here: expected a loss that is one floating number; got loss=0, dtype='int32'"),
    ],
    ids=["aux", "not scalar", "not floating"],
)
def test_what_is_no_loss_is_named(fun, message):
    with pytest.raises(ValueError, match=message):
        scalar("here", fun)(X)
    tx = nesterov_lookahead(0.1)
    with pytest.raises(ValueError, match=message.replace("here", "value_fn")):
        tx.update(X, tx.init(X), X, value_fn=fun)


def test_a_view_applies_to_functions_of_the_parameters_only():
    extra = {"value": 1.0, "value_fn": jnp.sum, "outputs_fn": lambda x: 2 * x, "outputs_loss": jnp.sum, "taps": None}
    seen = seen_through(extra, lambda x: x + 1)
    assert seen["value_fn"](X) == 4
    assert (seen["outputs_fn"](X) == 4).all()
    assert {key: seen[key] for key in ("value", "outputs_loss", "taps")} == {
        key: extra[key] for key in ("value", "outputs_loss", "taps")
    }


def test_a_hidden_objective_refuses_with_the_advice():
    extra = hidden("clipped", "do this instead", {"value": 1.0, "value_fn": jnp.sum, "outputs_fn": None})
    assert extra["value"] == 1.0
    assert extra["outputs_fn"] is None
    expected = "clipped: expected an optimizer that does not evaluate the objective; do this instead"
    with pytest.raises(ValueError, match=expected):
        extra["value_fn"](X)


def test_integer_parameters_are_named():
    params = {"net": {"w": X, "ids": jnp.arange(3)}}
    expected = r"optimizer: expected parameters of a floating type; got net/ids=\(3,\), dtype='int32'"
    with pytest.raises(ValueError, match=expected):
        adam(0.1).init(params)
    with pytest.raises(ValueError, match=r"got params=\(3,\), dtype='complex64'"):
        adam(0.1).init(jnp.ones(3, complex))


def test_the_objective_sees_parameters_of_their_own_types():
    seen = []

    def fun(params):
        seen.append(params.dtype)
        return params.sum()

    params = jnp.ones(2, jnp.bfloat16)
    tx = nesterov_lookahead(0.1)
    updates, state = tx.update(params, tx.init(params), params, value_fn=fun)
    assert seen == [jnp.bfloat16]
    assert (updates.dtype, state.velocity.dtype) == (jnp.bfloat16, jnp.float32)


def test_a_state_shares_no_memory_with_the_parameters():
    """A training step donates both."""
    tx = keep_dtypes(optax.GradientTransformation(lambda params: params, lambda g, s, _=None: (g, s)))
    params = jnp.ones(4)
    step = jax.jit(lambda p, s: (p + 1, s), donate_argnums=(0, 1))
    step(params, tx.init(params))
