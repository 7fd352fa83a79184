"""Many settings of one network trained side by side: the lanes of one compiled program.

Rates, decay, L2 and dropout are traced, so that settings which share their shapes share the program.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core.types import Batch, Key, PyTree
from jax231.core.unoptimized import jit_unoptimized
from jax231.data.preprocess import Stats
from jax231.optim import catalog, decay
from jax231.optim.paths import kernels
from jax231.search.folds import Folds
from jax231.train.network import Network

EXPLODED = 3.0
"""A cost so many times the first one breaks a lane off: "break out early", says the course."""

TOGETHER = 256
"""Validation examples that go through the model at once."""


class Numbers(NamedTuple):
    """What differs between lanes: step size, decoupled decay, L2 penalty, dropout, and which fold validates."""

    rate: Float[Array, "*lanes"]
    decay: Float[Array, "*lanes"]
    l2: Float[Array, "*lanes"]
    dropout: Float[Array, "*lanes"]
    fold: Int[Array, "*lanes"]


class Lane(NamedTuple):
    """Where a lane stands; `start` is its first cost, `alive` says that it has not exploded."""

    params: PyTree
    state: PyTree
    opt_state: PyTree
    start: Float[Array, "*lanes"]
    alive: Bool[Array, "*lanes"]


class Outcome(NamedTuple):
    """Of one epoch: mean training loss, and loss and accuracy on the validation examples."""

    train_loss: Float[Array, "*lanes"]
    loss: Float[Array, "*lanes"]
    accuracy: Float[Array, "*lanes"]


class Shared(NamedTuple):
    """What all lanes read: raw images with labels, the positions of each fold, how images are preprocessed."""

    images: Array
    labels: Array
    train: Int[Array, "folds rest"]
    validation: Int[Array, "folds held"]
    mean: Array
    scale: Array
    basis: Array


class Program(NamedTuple):
    """``begin(numbers, key) -> lanes`` and ``epoch(lanes, numbers, shared, key) -> (lanes, outcomes)``, compiled."""

    begin: Callable[[Numbers, Key], Lane]
    epoch: Callable[[Lane, Numbers, Shared, Key], tuple[Lane, Outcome]]


def share(examples: Batch, folds: Folds, stats: Stats) -> Shared:
    """The arrays of all lanes on the device."""
    arrays = (examples.inputs, examples.targets, folds.train, folds.validation)
    numbers = (np.asarray(x, np.float32) for x in (stats.mean, stats.scale, stats.basis))
    return Shared(*map(jnp.asarray, (*arrays, *numbers)))


def transformation(
    optimizer: str, rate: jax.Array, strength: jax.Array | float
) -> optax.GradientTransformationExtraArgs:
    """An optimizer of the catalog with decoupled weight decay on kernels."""
    builder = catalog.entry(optimizer).builder
    if "decayed" in inspect.signature(builder).parameters:
        return builder(rate, weight_decay=strength, decayed=kernels)
    return decay.decoupled(builder(rate), rate, strength)


def program(network: Network, optimizer: str, batch: int, *, drops: bool) -> Program:
    """The program of a network; with `drops` the lanes' dropout takes the place of the model's own.

    All lanes start from the same parameters and see the same batches, so that they differ by their settings alone. A
    lane whose cost, without penalties, is ever beyond 3 times the first one, or not finite, stays where it is. A
    `batch` of 0 takes all training examples.

    Source:  CS231n lecture 6, "if the cost is ever > 3 * original cost, break out early".
    """
    model = network.model

    def begin(numbers: Numbers, key: Key) -> Lane:
        params, state = model.init(key)
        memory = transformation(optimizer, numbers.rate, numbers.decay).init(params)
        return Lane(params, state, memory, jnp.asarray(jnp.nan), jnp.asarray(True))

    def step(lane: Lane, numbers: Numbers, shared: Shared, indices: Array, key: Key) -> tuple[Lane, Array]:
        images, labels = _prepared(shared, indices), shared.labels[indices]
        rates = {"dropout": numbers.dropout} if drops else {}

        def objective(params: PyTree) -> tuple[Array, tuple[Array, PyTree]]:
            outputs, state = model.apply(params, lane.state, images, train=True, key=key, rates=rates)
            cost = network.losses(outputs, labels).mean()
            return cost + decay.penalty(params, numbers.l2), (cost, state)

        grads, (cost, state) = jax.grad(objective, has_aux=True)(lane.params)
        tx = transformation(optimizer, numbers.rate, numbers.decay)
        updates, memory = tx.update(grads, lane.opt_state, lane.params)
        start = jnp.where(jnp.isnan(lane.start), cost, lane.start)
        alive = lane.alive & (cost <= EXPLODED * start)
        moved = (jax.tree.map(jnp.add, lane.params, updates), state, memory)
        before = (lane.params, lane.state, lane.opt_state)
        params, state, memory = jax.tree.map(lambda now, old: jnp.where(alive, now, old), moved, before)
        return Lane(params, state, memory, start, alive), cost

    def validate(lane: Lane, shared: Shared, places: Array) -> tuple[Array, Array]:
        count = places.shape[0]
        blocks = -(-count // TOGETHER)
        padded = jnp.pad(places, (0, blocks * TOGETHER - count)).reshape(blocks, TOGETHER)
        weights = (jnp.arange(blocks * TOGETHER) < count).reshape(blocks, TOGETHER)

        def block(given: tuple[Array, Array]) -> tuple[Array, Array]:
            some, weight = given
            outputs, _ = model.apply(lane.params, lane.state, _prepared(shared, some), train=False)
            labels = shared.labels[some]
            losses, hits = network.losses(outputs, labels), network.hits(outputs, labels)
            return jnp.sum(jnp.where(weight, losses, 0)), jnp.sum(jnp.where(weight, hits, 0))

        losses, hits = jax.lax.map(block, (padded, weights))
        return losses.sum() / count, hits.sum() / count

    def epoch(lane: Lane, numbers: Numbers, shared: Shared, key: Key) -> tuple[Lane, Outcome]:
        train, held = (rows[0] if rows.shape[0] == 1 else rows[numbers.fold] for rows in shared[2:4])
        key_order, key_noise = jax.random.split(key)
        size = min(batch or train.shape[0], train.shape[0])
        steps = train.shape[0] // size
        order = jax.random.permutation(key_order, train.shape[0])[: steps * size].reshape(steps, size)

        def body(lane: Lane, given: tuple[Array, Key]) -> tuple[Lane, Array]:
            places, key = given
            return step(lane, numbers, shared, train[places], key)

        lane, costs = jax.lax.scan(body, lane, (order, jax.random.split(key_noise, steps)))
        return lane, Outcome(costs.mean(), *validate(lane, shared, held))

    lanes = jax.vmap(epoch, in_axes=(0, 0, None, None))
    return Program(jit_unoptimized(jax.vmap(begin, in_axes=(0, None))), jax.jit(lanes))


def _prepared(shared: Shared, indices: Array) -> Array:
    x = (shared.images[indices].astype(jnp.float32) - shared.mean) / shared.scale
    return x.reshape(x.shape[0], -1) @ shared.basis if shared.basis.size else x


def take(lanes: Lane, places: np.ndarray) -> Lane:
    """The lanes at `places`."""
    return jax.tree.map(lambda x: x[places], lanes)
