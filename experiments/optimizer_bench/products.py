"""What Hessian-vector and Gauss-Newton products cost in gradients, on a multilayer perceptron in float32."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from jax231.core.types import PyTree
from jax231.curvature.products import ggnvp, hvp, linearized_ggnvp, linearized_hvp
from jax231.functional import affine, he, relu, softmax_cross_entropy
from jax231.measure.timing import interleaved
from optimizer_bench.parts import Part, Setting, Target, alone, number, ratio

WIDTHS, BATCH = (784, 256, 256, 10), 512
AIMS = {"linearized hvp": 1.45, "hvp": 2.0, "linearized ggnvp": 1.2, "ggnvp": 1.7}


def measure(quick: bool, _: str) -> dict[str, Any]:
    """Interleaved seconds of a gradient and of every product; a linearization is made before, and is an argument."""
    with jax.enable_x64(False):
        calls = programs()
        timings = interleaved(calls, repeats=3 if quick else 41, budget=0.5 if quick else 30.0)
    return {name: {"seconds": timing.median, "spread": timing.spread} for name, timing in timings.items()}


def programs(
    widths: Sequence[int] = WIDTHS, batch_size: int = BATCH
) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Compiled calls with their arguments."""
    key_x, key_labels, key_params, key_vector = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(key_x, (batch_size, widths[0]))
    labels = jax.random.randint(key_labels, (batch_size,), 0, widths[-1])
    params, vector = (_parameters(key, widths) for key in (key_params, key_vector))

    def loss_of(outputs: jax.Array, labels: jax.Array) -> jax.Array:
        return softmax_cross_entropy(outputs, labels).mean()

    def loss(params: PyTree, x: jax.Array, labels: jax.Array) -> jax.Array:
        return loss_of(outputs(params, x), labels)

    def at(x: jax.Array, labels: jax.Array) -> tuple[Callable, Callable, Callable]:
        return partial(loss, x=x, labels=labels), partial(outputs, x=x), partial(loss_of, labels=labels)

    hessian = jax.jit(lambda p, *batch: linearized_hvp(at(*batch)[0], p)[1])
    gauss_newton = jax.jit(lambda p, *batch: linearized_ggnvp(*at(*batch)[1:], p)[1])
    apply = jax.jit(lambda product, vector: product(vector))
    batch = (x, labels)
    return {
        "gradient": (jax.jit(jax.grad(loss)), (params, *batch)),
        "linearized hvp": (apply, (hessian(params, *batch), vector)),
        "hvp": (jax.jit(lambda p, v, *batch: hvp(at(*batch)[0], p, v)), (params, vector, *batch)),
        "linearized ggnvp": (apply, (gauss_newton(params, *batch), vector)),
        "ggnvp": (jax.jit(lambda p, v, *batch: ggnvp(*at(*batch)[1:], p, v)), (params, vector, *batch)),
    }


def outputs(params: PyTree, x: jax.Array) -> jax.Array:
    """The perceptron's, with ReLU between its layers."""
    *hidden, last = params
    for weight, bias in hidden:
        x = relu(affine(x, weight, bias))
    return affine(x, *last)


def _parameters(key: jax.Array, widths: Sequence[int]) -> PyTree:
    keys = jax.random.split(key, len(widths) - 1)
    shapes = pairwise(widths)
    return [(he()(key, shape, jnp.float32), jnp.zeros(shape[1])) for key, shape in zip(keys, shapes, strict=True)]


def run(name: str, setting: Setting, part: Part) -> None:
    """Measure in a process of its own."""
    part.data |= alone(name, setting, part, 600.0)
    setting.say("  ".join(f"{what} {1e3 * f['seconds']:.3g} ms" for what, f in part.data.items()))


def targets(name: str, part: Part) -> list[Target]:
    """Each product over the gradient."""
    gradient = part.data["gradient"]["seconds"]
    return [
        Target(f"{product} / gradient, MLP 784-256-256-10, batch 512: linearized; one-shot",
               [ratio(part.data[form]["seconds"], gradient) for form in (f"linearized {product}", product)],
               [AIMS[f"linearized {product}"], AIMS[product]])
        for product in ("hvp", "ggnvp")
    ]  # fmt: skip


def lines(name: str, part: Part) -> list[str]:
    """A row a product."""
    gradient = part.data["gradient"]["seconds"]
    rows = [
        f"| {what} | {1e3 * f['seconds']:.3g} ({f['spread']:.0%}) | {number(f['seconds'] / gradient)} |"
        for what, f in part.data.items()
    ]
    return ["MLP 784-256-256-10, batch 512, float32; a linearized product is made once and applied.", "",
            "| what | ms (interquartile range over it) | in gradients |", "|---|---:|---:|", *rows, ""]  # fmt: skip
