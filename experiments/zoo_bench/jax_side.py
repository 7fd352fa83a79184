"""The networks in jax231, compiled ahead of time; the program's arrays are its arguments."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from kernel_bench.jax_side import compile_timed
from kernel_bench.job import Job

from jax231.kernels import native
from jax231.measure import machine
from jax231.models import pretrained, zoo
from jax231.nn.bridge import Constructor, functionalize
from jax231.nn.noise import noisy
from jax231.optim.momentum import momentum
from zoo_bench import exchange as files
from zoo_bench.bench_cases import MOMENTUM, RATE, Case, Form
from zoo_bench.inputs import inputs
from zoo_bench.weights import drawn


def hello(side: str) -> dict[str, Any]:
    """The machine and the versions."""
    del side
    facts = {"device": machine.device(), "versions": machine.versions(), "revision": machine.revision()}
    if not native.active():
        facts["missing"] = "the compiled kernels are not active on this machine: see `jax231 kernels`"
    return facts


class Training(NamedTuple):
    """What a step hands to the next; its arrays are donated."""

    step: jax.Array
    params: Any
    state: Any
    opt: Any


def build(side: str, case: Case, form: Form, exchange: Path) -> Job:
    """A network in evaluation, or its training; its first weights are left in the exchange folder."""
    del side
    entry = zoo.entry(case.name)
    constructor = entry.constructor(case.shape, case.classes)
    model = functionalize(constructor)
    params, state = drawn(model)
    files.write(exchange, case.name, lambda: pretrained.to_state_dict(case.name, params, state))
    x, labels = map(jnp.asarray, inputs(case.n, case.shape, case.classes, seed=231))
    if form == "forward":

        def scores(params: Any, state: Any, x: jax.Array) -> jax.Array:
            return model.apply(params, state, x, train=False)[0]

        program, seconds, kernels = compile_timed(jax.jit(scores), params, state, x)
        call = lambda: jax.block_until_ready(program(params, state, x))  # noqa: E731
        return Job(call, lambda y: [np.asarray(y)], seconds, kernels)

    tx, key = momentum(RATE, MOMENTUM), jax.random.key(231)

    def step(train: Training, rates: Any, x: jax.Array, labels: jax.Array) -> tuple[Training, jax.Array]:
        def objective(params: Any) -> tuple[jax.Array, Any]:
            masks = jax.random.fold_in(key, train.step)
            outputs, after = model.apply(params, train.state, x, train=True, key=masks, rates=rates)
            return entry.loss_function(outputs, labels).mean(), after

        (loss, after), grads = jax.value_and_grad(objective, has_aux=True)(train.params)
        updates, opt = tx.update(grads, train.opt, train.params)
        return Training(train.step + 1, optax.apply_updates(train.params, updates), after, opt), loss

    train = Training(jnp.int32(0), params, state, tx.init(params))
    usual = default_rates(constructor)
    rates = jax.tree.map(jnp.zeros_like, usual)  # the first step drops nothing, so that it can be compared
    program, seconds, kernels = compile_timed(jax.jit(step, donate_argnums=0), train, rates, x, labels)

    def call() -> tuple[jax.Array, Training]:
        nonlocal train, rates
        train, loss = jax.block_until_ready(program(train, rates, x, labels))
        rates = usual
        return loss, train

    def read(result: tuple[jax.Array, Training]) -> list[np.ndarray]:
        loss, train = result
        velocity = optax.tree_utils.tree_get(train.opt, "trace")
        arrays = pretrained.to_state_dict(case.name, velocity, train.state)
        return [np.asarray(loss), files.norms(arrays)]

    return Job(call, read, seconds, kernels)


def default_rates(constructor: Constructor) -> dict[str, jax.Array]:
    """The rates of the network's random layers, by kind."""
    module = nnx.eval_shape(lambda: constructor(nnx.Rngs(0)))
    return {layer.kind: jnp.float32(layer.default) for layer in noisy(module)}
