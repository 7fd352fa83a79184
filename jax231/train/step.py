"""One training step, pure, and an epoch or a part of it as one program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.types import Batch, Key, PyTree, Scalar
from jax231.models.char_rnn import zero_carry
from jax231.optim import average, catalog
from jax231.train import feed as feeds
from jax231.train import network as networks
from jax231.train import optimizer, snapshots
from jax231.train.config import Config
from jax231.train.feed import Feed
from jax231.train.network import Network
from jax231.train.splits import Splits
from jax231.train.state import TrainState

Step = Callable[[TrainState, Batch], tuple[TrainState, "Metrics"]]
CURVATURE = 10
"""One in so many examples of a batch gives the curvature to a method that samples it."""
Place = Callable[[PyTree], PyTree]


class Metrics(NamedTuple):
    """Means over the batch of a step: the loss without the penalty of weight decay, and the share of right answers."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]


class Passed(NamedTuple):
    """What a forward pass of training leaves behind beside its loss."""

    state: PyTree
    carry: PyTree
    accuracy: Float[Array, ""]


class Task(NamedTuple):
    """What is trained, and how: all that a step depends on beside its state and its data."""

    config: Config
    network: Network
    feed: Feed
    tx: optax.GradientTransformationExtraArgs


def assemble(config: Config, splits: Splits) -> Task:
    """The task of a configuration on its data.

    Raises: ValueError as `network.build`, `feed.of`, `optimizer.build` and `optimizer.require_patterns`.
    """
    network, feed = networks.build(config, splits.shape, len(splits.classes)), feeds.of(config, splits)
    if config.freeze or config.factors:
        optimizer.require_patterns(config, tree.names(jax.eval_shape(network.model.init, jax.random.key(0))[0]))
    return Task(config, network, feed, optimizer.build(config, feed.steps))


def begin(
    config: Config, network: Network, steps: int, batch: int, weights: PyTree = None, seed: Scalar | None = None
) -> TrainState:
    """The state before the first step of epochs of so many steps: a function of the seed, and of `weights`.

    `weights`, where given, are the parameters and the model state to start from; `seed` takes the place of the
    configuration's and may be traced.
    """
    key_params, key = jax.random.split(jax.random.key(config.seed if seed is None else seed))
    params, state = network.model.init(key_params) if weights is None else weights
    empty = jnp.zeros(steps, jnp.float32)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        state=state,
        opt_state=optimizer.build(config, steps).init(params),
        average=None if config.ema is None else average.start((params, state)),
        carry=first_carry(config, network, batch),
        key=key,
        start=jnp.full((), jnp.nan, jnp.float32),
        losses=empty,
        accuracies=empty,
        snapshots=snapshots.room(config.snapshots, (params, state)),
    )


def first_carry(config: Config, network: Network, batch: int) -> PyTree:
    """What a recurrent network carries into the first of `batch` windows; None for other models."""
    if network.entry.form != "tokens":
        return None
    options: dict[str, Any] = {**network.entry.arguments, **config.arguments}
    return zero_carry(batch, **{name: options[name] for name in ("kind", "layers", "hidden") if name in options})


def make_step(task: Task) -> Step:
    """``step(state, raw batch) -> (state, metrics)``: gradient, update, running statistics, average.

    The batch is dressed (augmented, preprocessed) and all masks are drawn before the objective is formed, so that a
    line search or CG sees one function. With `accumulate` above 1 the batch is cut into parts that go through the model
    one after the other, each with masks and batch statistics of its own; the loss is the mean over them.
    """
    config, network = task.config, task.network
    needs = catalog.entry(config.optimizer).needs
    parts = config.accumulate

    def forward(params: PyTree, state: PyTree, carry: PyTree, batch: Batch, key: Key) -> tuple[PyTree, PyTree, PyTree]:
        inputs = network.inputs(batch, carry)
        outputs, state = network.model.apply(params, state, inputs, train=True, key=key)
        return (*_without_carry(network, outputs), state)

    def loss(params: PyTree, state: PyTree, carry: PyTree, batch: Batch, key: Key) -> tuple[Array, Passed]:
        outputs, carry, state = forward(params, state, carry, batch, key)
        hits = network.hits(outputs, batch.targets).mean()
        return network.smoothed(outputs, batch.targets).mean(), Passed(state, carry, hits)

    def gradient(params: PyTree, state: PyTree, cut: tuple[PyTree, Batch, Key]) -> tuple[Array, Passed, PyTree]:
        """Mean loss over the parts, what the last leaves behind, and the mean gradient."""
        slope = jax.value_and_grad(loss, has_aux=True)
        if parts == 1:
            (value, passed), grads = slope(params, state, *jax.tree.map(lambda x: x[0], cut))
            return value, passed, grads

        def part(sums: tuple[PyTree, PyTree], one: tuple[PyTree, Batch, Key]):
            state, total = sums
            (value, passed), grads = slope(params, state, *one)
            total = jax.tree.map(jnp.add, total, grads)
            return (passed.state, total), (value, passed.carry, passed.accuracy)

        start = (state, jax.tree.map(jnp.zeros_like, params))
        (state, total), (values, carry, hits) = jax.lax.scan(part, start, cut)
        grads = jax.tree.map(lambda x: x / parts, total)
        return values.mean(), Passed(state, carry, hits.mean()), grads

    def functions(state: PyTree, cut: tuple[PyTree, Batch, Key]) -> dict[str, Any]:
        """What the optimizer needs beside the gradient: the objective and its parts as functions of the parameters."""

        def over_parts(fun: Callable[..., PyTree]) -> Callable[[PyTree], PyTree]:
            if parts == 1:
                return lambda params: fun(params, *jax.tree.map(lambda x: x[0], cut))
            once = jax.checkpoint(fun, prevent_cse=False)  # else the map would store what each part's derivative needs
            return lambda params: jax.lax.map(lambda one: once(params, *one), cut)

        def losses(params: PyTree, carry: PyTree, batch: Batch, key: Key) -> Array:
            return network.smoothed(forward(params, state, carry, batch, key)[0], batch.targets)

        def outputs(params: PyTree, carry: PyTree, batch: Batch, key: Key) -> PyTree:
            return forward(params, state, carry, batch, key)[0]

        def outputs_loss(outputs: PyTree) -> Array:
            targets = cut[1].targets
            if parts == 1:
                return network.smoothed(outputs, targets[0]).mean()
            return jax.lax.map(lambda pair: network.smoothed(*pair).mean(), (outputs, targets)).mean()

        def some_losses(params: PyTree, carry: PyTree, batch: Batch, key: Key) -> Array:
            carry, batch = jax.tree.map(lambda x: x[: max(1, len(x) // CURVATURE)], (carry, batch))
            return losses(params, carry, batch, key)

        known = {
            "value_fn": lambda params: over_parts(losses)(params).mean(),
            "outputs_fn": over_parts(outputs),
            "outputs_loss": outputs_loss,
            "per_example_fn": lambda params: over_parts(losses)(params).reshape(-1),
            "curvature_fn": lambda params: over_parts(some_losses)(params).mean(),
        }
        return {name: known[name] for name in needs}

    def step(train: TrainState, raw: Batch) -> tuple[TrainState, Metrics]:
        batch, key_masks = dressed(task, train, raw)
        cut = (*_cut((train.carry, batch), parts), jax.random.split(key_masks, parts))
        value, passed, grads = gradient(train.params, train.state, cut)
        extra = functions(train.state, cut)
        updates, opt_state = task.tx.update(grads, train.opt_state, train.params, value=value, grad=grads, **extra)
        params = optax.apply_updates(train.params, updates)
        mean = train.average
        if mean is not None and config.ema is not None:
            now = (params, passed.state)
            mean = average.polyak(mean, now) if config.ema == 1 else average.ema(mean, now, config.ema)
        carry = passed.carry
        if parts > 1:
            carry = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), carry)
        moved = train._replace(
            step=train.step + 1, params=params, state=passed.state, opt_state=opt_state, average=mean, carry=carry
        )
        return moved, Metrics(value.astype(jnp.float32), passed.accuracy.astype(jnp.float32))

    return step


def dressed(task: Task, train: TrainState, raw: Batch) -> tuple[Batch, Key]:
    """What the model reads in the step from `train`, and the key of its masks."""
    key_dress, key_masks = jax.random.split(jax.random.fold_in(train.key, train.step))
    return task.feed.dress(key_dress, raw), key_masks


def advance(task: Task, place: Place = lambda batch: batch) -> Callable[..., TrainState]:
    """``run(state, data, last, seed) -> state``: the steps of one epoch up to `last`, counted within the epoch.

    It goes on from where the state is. `last` is traced: one compiled program does an epoch whole or in parts of any
    length, and the bits do not depend on the parts. `seed` orders the examples, by itself that of the configuration.
    `place` lays a batch over devices.
    """

    step, feed = make_step(task), task.feed

    def run(train: TrainState, data: PyTree, last: Array, seed: Scalar = task.config.seed) -> TrainState:
        epoch, first = jnp.divmod(train.step, feed.steps)
        plan = feed.plan(data, epoch, seed)
        fresh = first_carry(task.config, task.network, feed.batch)
        train = train._replace(carry=jax.tree.map(lambda x, zero: jnp.where(first == 0, zero, x), train.carry, fresh))

        def body(i: Array, train: TrainState) -> TrainState:
            train, metrics = step(train, place(feed.take(data, plan, i)))
            return train._replace(
                start=jnp.where(train.step == 1, metrics.loss, train.start),
                losses=train.losses.at[i].set(metrics.loss),
                accuracies=train.accuracies.at[i].set(metrics.accuracy),
            )

        return jax.lax.fori_loop(first, last, body, train)

    return run


def evaluated(config: Config, train: TrainState) -> tuple[PyTree, PyTree]:
    """Parameters and model state to evaluate: the averages where the run keeps some."""
    if train.average is not None:
        return average.value(train.average, (train.params, train.state))
    return optimizer.evaluation_params(config, train.opt_state, train.params), train.state


def _cut(x: PyTree, parts: int) -> PyTree:
    return jax.tree.map(lambda x: x.reshape(parts, len(x) // parts, *x.shape[1:]), x)


def _without_carry(network: Network, outputs: PyTree) -> tuple[PyTree, PyTree]:
    """The outputs that the loss reads, and the carry."""
    if network.entry.form != "tokens":
        return outputs, None
    carry, scores = outputs
    return (None, scores), carry
