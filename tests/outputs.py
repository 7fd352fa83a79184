"""Objectives that are a loss of outputs, and the loop that steps on them."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

PyTree = Any


class Composed(NamedTuple):
    """``value_fn(params) == outputs_loss(outputs_fn(params))``, and where to start."""

    outputs_fn: Callable[[PyTree], PyTree]
    outputs_loss: Callable[[PyTree], jax.Array]
    start: PyTree

    def value_fn(self, params: PyTree) -> jax.Array:
        return self.outputs_loss(self.outputs_fn(params))


def half_square(residuals: PyTree) -> jax.Array:
    """Half the sum of squares over all leaves."""
    return sum(0.5 * jnp.vdot(r, r) for r in jax.tree.leaves(residuals))


def step(tx: optax.GradientTransformationExtraArgs, problem: Composed, params: PyTree, state: PyTree, **more: Any):
    """Parameters and state after one step of `tx`, everything evaluated afresh."""
    value, grad = jax.value_and_grad(problem.value_fn)(params)
    updates, state = tx.update(
        grad, state, params, value=value, grad=grad, value_fn=problem.value_fn, outputs_fn=problem.outputs_fn,
        outputs_loss=problem.outputs_loss, **more,
    )  # fmt: skip
    return optax.apply_updates(params, updates), state


def descent(
    builder: Callable[[Any], optax.GradientTransformationExtraArgs], problem: Composed, count: int, **more: Any
):
    """``run(setting, start=problem.start) -> (params, states)`` after each of `count` steps, compiled once."""

    def run(setting, start):
        tx = builder(setting)

        def body(carry, _):
            carry = step(tx, problem, *carry, **more)
            return carry, carry

        return jax.lax.scan(body, (start, tx.init(start)), length=count)[1]

    compiled = jax.jit(run)
    return lambda setting, start=problem.start: compiled(jnp.asarray(setting), jax.tree.map(jnp.asarray, start))


def linear_least_squares() -> tuple[np.ndarray, np.ndarray, Composed]:
    """Half the sum of squares of twelve residuals ``matrix @ x - offset`` of five parameters."""
    rng = np.random.default_rng(3)
    matrix, offset = rng.normal(size=(12, 5)), rng.normal(size=12)
    return matrix, offset, Composed(lambda p: matrix @ p["x"] - offset, half_square, {"x": rng.normal(size=5)})


def softmax_regression() -> Composed:
    """Mean cross entropy of 20 points in three classes plus a penalty, whose outputs are the parameters themselves."""
    rng = np.random.default_rng(4)
    x, labels = rng.normal(size=(20, 2)), rng.integers(0, 3, 20)

    def outputs_fn(params):
        return {"logits": x.astype(params["kernel"].dtype) @ params["kernel"] + params["bias"], "params": params}

    def outputs_loss(outputs):
        loss = optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], labels).mean()
        return loss + 0.01 * half_square(outputs["params"])

    return Composed(outputs_fn, outputs_loss, {"kernel": rng.normal(size=(2, 3)), "bias": np.zeros(3)})


def autoencoder() -> Composed:
    """The mean squared error of a tanh net (6, 5, 1, 5, 6) on 24 points along a curve in six dimensions."""
    rng = np.random.default_rng(5)
    t = np.linspace(-1.5, 1.5, 24)[:, None]
    x = np.tanh(np.concatenate([t, t**2 - 1, np.sin(2 * t), np.cos(3 * t), t**3 / 2, -t], 1))
    sizes = (6, 5, 1, 5, 6)
    start = {
        f"layer{i}": {"kernel": rng.normal(size=(a, b)) / np.sqrt(a), "bias": np.zeros(b)}
        for i, (a, b) in enumerate(itertools.pairwise(sizes))
    }

    def outputs_fn(params):
        h = x.astype(params["layer0"]["bias"].dtype)
        for i in range(4):
            h = h @ params[f"layer{i}"]["kernel"] + params[f"layer{i}"]["bias"]
            h = jnp.tanh(h) if i < 3 else h
        return h

    return Composed(outputs_fn, lambda outputs: jnp.mean((outputs - x.astype(outputs.dtype)) ** 2), start)
