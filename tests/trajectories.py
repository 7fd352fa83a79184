"""The points that an optimizer visits, one row a step, and a small net to visit them on."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax231.optim import reuse

PyTree = Any
Builder = Callable[[Any], optax.GradientTransformation]


def trajectory(builder: Builder, fun: Callable[[PyTree], jax.Array], start: PyTree, rates: Any) -> PyTree:
    """Parameters after each step on `fun`; the optimizer is built inside the scan, from that step's traced rate."""
    params = jax.tree.map(jnp.asarray, start)

    def step(carry, rate):
        params, state = carry
        tx = optax.with_extra_args_support(builder(rate))
        value, grads = jax.value_and_grad(fun)(params)
        updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=fun)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    rates = jnp.asarray(rates)
    return jax.jit(lambda p, r: jax.lax.scan(step, (p, builder(r[0]).init(p)), r)[1])(params, rates)


def replay(tx: optax.GradientTransformation, start: Any, gradients: Any) -> jax.Array:
    """Points after each step from `start` when the gradients are handed in one by one, whatever the point."""
    start, gradients = jnp.asarray(start), jnp.asarray(gradients)

    def step(carry, grads):
        params, state = carry
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.jit(lambda p, g: jax.lax.scan(step, (p, tx.init(p)), g)[1])(start, gradients)


def descent(
    builder: Builder, fun: Callable[[PyTree], jax.Array], steps: int
) -> Callable[[PyTree, Any], tuple[PyTree, PyTree]]:
    """``run(start, setting) -> (params, states)`` after each of the steps on a noiseless `fun`, compiled once.

    Value and gradient come from the state where the optimizer has just evaluated them there.
    """

    def run(start, setting):
        def step(carry, _):
            params, state = carry
            value, grad = reuse.value_and_grad(fun, params, state)
            updates, state = builder(setting).update(grad, state, params, value=value, grad=grad, value_fn=fun)
            carry = optax.apply_updates(params, updates), state
            return carry, carry

        return jax.lax.scan(step, (start, builder(setting).init(start)), length=steps)[1]

    compiled = jax.jit(run)
    return lambda start, setting: compiled(jax.tree.map(jnp.asarray, start), jnp.asarray(setting))


def small_net() -> tuple[Callable[[PyTree], jax.Array], PyTree]:
    """Mean squared error of a tanh net (2, 5, 1) on 16 fixed points, and its start as a nested dict."""
    residuals, start = tapped_net()
    return lambda params: jnp.mean(residuals(params, {"hidden": 0.0})[0] ** 2), start


def tapped_net() -> tuple[Callable[[PyTree, PyTree], tuple[jax.Array, PyTree]], PyTree]:
    """``taps(params, probes) -> (residuals (16, 1), layer_inputs)`` of the small net, and its start."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(16, 2))
    y = np.sin(x[:, 0]) + x[:, 1] ** 2
    start = {
        "hidden": {"weight": rng.normal(size=(2, 5)), "bias": np.zeros(5)},
        "output": {"weight": rng.normal(size=5) / 5, "bias": np.zeros(())},
    }

    def taps(params, probes):
        dtype = params["output"]["weight"].dtype
        inputs = jnp.asarray(x, dtype)
        h = jnp.tanh(inputs @ params["hidden"]["weight"] + params["hidden"]["bias"] + probes["hidden"])
        outputs = h @ params["output"]["weight"] + params["output"]["bias"]
        return (outputs - y.astype(dtype))[:, None], {"hidden": inputs}

    return taps, start
