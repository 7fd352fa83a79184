"""The cases in JAX: by the compiled kernels, by the plain forms, or by XLA's own operations."""

import functools
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

import jax231.functional
from jax231.kernels import native
from jax231.measure import machine
from kernel_bench import jax_nets, operands, stock
from kernel_bench.cases import (
    Case,
    Conv,
    ConvTranspose,
    Curvature,
    Form,
    Neighbors,
    Peak,
    Pool,
    Recurrent,
    Training,
)
from kernel_bench.job import Job
from kernel_bench.nets import Net


def hello(side: str) -> dict[str, Any]:
    """The machine and the versions; `missing` says why there is nothing to measure."""
    facts = {"device": machine.device(), "versions": machine.versions(), "revision": machine.revision()}
    if side == "compiled" and not native.active():
        facts["missing"] = "the compiled kernels are not active on this machine: see `jax231 kernels`"
    return facts


def build(side: str, case: Case, form: Form, exchange: Path) -> Job:
    """Compile a case; the program's arrays are its arguments."""
    ops: Any = stock if side == "xla" else jax231.functional
    match case.work:
        case Training(net):
            return _training(ops, case, net, form)
        case Curvature(net):
            return _curvature(ops, net, form)
        case Neighbors(k=k):
            examples = [jnp.asarray(x) for x in operands.neighbors(exchange)]
            return _compiled(lambda *examples: [ops.knn_predict(*examples, k)], examples)
    arrays = [jnp.asarray(x) for x in operands.arrays(case)]
    fun = functools.partial(_operation, ops, case.work)
    match form:
        case "forward":
            return _compiled(lambda *arrays: [fun(*arrays)], arrays)
        case "gradient":
            return _compiled(functools.partial(_gradient, fun), arrays)
        case "scan":
            return _compiled(_loop(fun, case.repeats(form)), arrays)
        case "vmap":
            lanes = [jnp.stack([x] * case.repeats(form)) for x in arrays]
            return _compiled(jax.vmap(functools.partial(_gradient, fun)), lanes)
    raise ValueError(f"{case.name}: expected one of {', '.join(case.forms)}; got {form}")


def _operation(ops: Any, work: Any, x: Array, *weights: Array) -> Array:
    match work:
        case Conv(_, _, stride, padding, groups):
            return ops.conv2d(x, *weights, stride=stride, padding=padding, groups=groups)
        case ConvTranspose(_, _, stride):
            return ops.conv2d_transpose(x, *weights, stride=stride)
        case Pool("max", _, size, stride):
            return ops.max_pool(x, size, stride=stride)
        case Pool(_, _, size, stride):
            return ops.avg_pool(x, size, stride=stride)
        case Recurrent(cell, _, units):
            layers = [
                {"wx": wx, "wh": wh, "b": b}
                for wx, wh, b in zip(weights[::3], weights[1::3], weights[2::3], strict=True)
            ]
            zeros = jnp.zeros((len(x), units))
            if cell == "lstm":
                return ops.stacked_lstm(layers, [(zeros, zeros)] * len(layers), x)[1]
            return ops.stacked_rnn(layers, [zeros] * len(layers), x)[1]
        case Peak("matmul"):
            return x @ weights[0]
        case Peak():
            return lax.optimization_barrier(x) + 1
    raise TypeError(f"expected an operation; got {work!r}")


def _gradient(fun: Callable[..., Array], *arrays: Array) -> list[Array]:
    """The value, and the gradients of half its square, which need no other array than the value."""
    y, pull = jax.vjp(fun, *arrays)
    return [y, *pull(y)]


def _loop(fun: Callable[..., Array], length: int) -> Callable[..., Sequence[Array]]:
    """Repeat `_gradient`: the gradient takes the place of the first operand, and moves the weights a little.

    So each iteration needs all of the one before, and the loop adds no pass over a large array.
    """

    def body(arrays: Sequence[Array], _: None) -> tuple[Sequence[Array], None]:
        y, dx, *grads = _gradient(fun, *arrays)
        rate = 1e-3 * y.shape[-1] / y.size
        return (dx, *(w + rate * g for w, g in zip(arrays[1:], grads, strict=True))), None

    return lambda *arrays: lax.scan(body, arrays, length=length)[0]


def _compiled(fun: Callable[..., Sequence[Array]], arrays: Sequence[Array]) -> Job:
    program, seconds, kernels = compile_timed(jax.jit(fun), *arrays)
    return Job(lambda: jax.block_until_ready(program(*arrays)), _read, seconds, kernels)


def compile_timed(fun: Any, *arguments: Any) -> tuple[Callable[..., Any], float, tuple[str, ...]]:
    """The program, the seconds of tracing and compiling it, and the compiled kernels that it calls."""
    begin = time.perf_counter()
    lowered = fun.lower(*arguments)
    program = lowered.compile()
    seconds = time.perf_counter() - begin
    return program, seconds, tuple(sorted(set(re.findall(r"custom_call @(\w+)", lowered.as_text()))))


def _read(results: Sequence[Array]) -> list[np.ndarray]:
    return [np.asarray(x) for x in results]


def _training(ops: Any, case: Case, net: Net, form: Form) -> Job:
    """Training steps, each on the state that the one before left."""
    params, *batch = jax.tree.map(jnp.asarray, operands.batch(net))
    state, rate, step = jax_nets.start(net, params), jnp.float32(operands.RATE), jax_nets.make_step(ops, net)
    if form == "scan":
        length = case.repeats(form)
        one = step

        def step(state: Any, rate: Array, x: Array, labels: Array) -> Any:
            return lax.scan(lambda state, _: one(state, rate, x, labels), state, length=length)
    elif form == "vmap":
        models = case.repeats(form)
        state = jax.tree.map(lambda p: jnp.stack([p] * models), state)
        step, rate = jax.vmap(step, (0, 0, None, None)), rate / 2.0 ** jnp.arange(models)
    program, seconds, kernels = compile_timed(jax.jit(step, donate_argnums=0), state, rate, *batch)

    def call() -> tuple[Array, Any]:
        nonlocal state
        state, value = jax.block_until_ready(program(state, rate, *batch))
        return value, state.velocity

    def read(result: tuple[Array, Any]) -> list[np.ndarray]:
        return [np.asarray(result[0]), _flat(result[1])]

    return Job(call, read, seconds, kernels)


def _curvature(ops: Any, net: Net, form: Form) -> Job:
    """Gradients of the loss, or products of its Hessian with a fixed vector."""
    params, *batch = jax.tree.map(jnp.asarray, operands.batch(net))
    stats = jax_nets.start(net, params).stats
    rng = np.random.default_rng(1)
    vector = jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape, np.float32)), params)

    def grad(params: Any, *batch: Array) -> Any:
        return jax.grad(lambda params: jax_nets.loss(ops, net, params, stats, *batch)[0])(params)

    if form == "gradient":
        fun, arguments = grad, (params, *batch)
    elif form == "oneshot":
        arguments = params, vector, *batch

        def fun(params: Any, vector: Any, *batch: Array) -> Any:
            return jax.jvp(lambda params: grad(params, *batch), (params,), (vector,))[1]
    else:
        product = jax.jit(lambda *batch: jax.linearize(lambda params: grad(params, *batch), params)[1])(*batch)
        arguments = product, vector  # what the linearization keeps is an argument

        def fun(product: Any, vector: Any) -> Any:
            return product(vector)

    program, seconds, kernels = compile_timed(jax.jit(fun), *arguments)
    return Job(lambda: jax.block_until_ready(program(*arguments)), lambda result: [_flat(result)], seconds, kernels)


def _flat(params: Any) -> np.ndarray:
    """All parameters as one vector for each model, leaf by leaf, in the order of their names."""
    return np.concatenate([np.asarray(leaf[name]).ravel() for leaf in params for name in sorted(leaf)])
