"""A deep autoencoder on MNIST in full batch: Gauss-Newton against Adam, each with its best setting, at equal cost.

Sigmoid units with a linear code, cross entropy of the pixels, sparse initialization with 15 incoming weights a unit as
in Martens 2010 (whose L2 term is left out). As there, a part of the images gives the curvature, all of them gradient
and losses. Cost is counted in gradients on all images, by rates that were measured before; so other work beside it does
no harm. Every run is kept as soon as it is finished, and is not done again.
"""

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax231.core.files import append_record, read_records
from jax231.core.types import PyTree
from jax231.curvature.products import linearized_ggnvp
from jax231.data.sources import load
from jax231.functional import affine, sigmoid
from jax231.measure.timing import interleaved
from jax231.optim import counts
from jax231.optim.adam import adam
from jax231.optim.gauss_newton import gauss_newton
from optimizer_bench.parts import Part, Setting, Target, alone, number

WIDTHS, CODE = (784, 250, 100, 30, 100, 250, 784), 3
INCOMING = 15
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
SOLVERS = ((8, 10), (4, 10), (4, 20))
"""For Gauss-Newton: how many parts the images have, one of which gives a step its curvature; CG iterations a step."""
DAMPING, PROBES = 10.0, 1
TUNING_SEEDS, SEEDS = (100,), (0, 1, 2)
CHUNK = 25
"""Steps of Adam in one call."""
POINTS = 100
"""Of Gauss-Newton's curve that are kept."""

LIMIT = 36_000.0
"""Seconds for all runs, which may go on beside other work."""


def measure(quick: bool, checkpoints: str) -> dict[str, Any]:
    """All runs that are not kept yet, then what they show."""
    budget, examples = (10, 100) if quick else (1000, 2000)
    with jax.enable_x64(False):
        images = load("mnist").train.images[:examples].reshape(examples, -1)
        x = jnp.asarray(images / np.float32(255))
        file = Path(checkpoints) / "autoencoder.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)

        def once(what: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            """A record with these entries: of before, or of now."""
            for record in [] if quick else read_records(file):
                if what.items() <= record.items():
                    return record
            record = {**what, **work()}
            if not quick:
                append_record(file, json.dumps(record).encode())
            return record

        size = {"kind": "run", "budget": budget, "examples": examples}

        def by_adam(rate: float, seed: int) -> dict[str, Any]:
            return once({**size, "method": "adam", "rate": rate, "seed": seed}, lambda: run_adam(x, rate, seed, budget))

        rates = {
            parts: once({"kind": "rates", "examples": examples, "parts": parts}, partial(exchange_rates, x, parts))
            for parts in sorted({parts for parts, _ in SOLVERS})
        }

        def by_gauss_newton(solver: tuple[int, int], seed: int) -> dict[str, Any]:
            parts, cg_limit = solver
            solved = {"damping": DAMPING, "cg_limit": cg_limit, "probes": PROBES, "parts": parts}
            what = {**size, "method": "gauss_newton", **solved, "seed": seed}
            return once(what, lambda: run_gauss_newton(x, solver, seed, budget, rates[parts]))

        tuned, runs, best = [], [], {}
        methods: dict[str, tuple[Callable[[Any, int], dict[str, Any]], tuple[Any, ...]]]
        methods = {"gauss_newton": (by_gauss_newton, SOLVERS), "adam": (by_adam, RATES)}
        for name, (trained, settings) in methods.items():
            losses = {}
            for setting in settings:
                records = [trained(setting, seed) for seed in TUNING_SEEDS]
                losses[setting] = np.median([record["loss"] for record in records])
                tuned += records
            best[name] = min(losses, key=lambda setting: losses[setting])
            runs += [trained(best[name], seed) for seed in SEEDS]
    return {"rates": list(rates.values()), "tuning": tuned, "runs": runs, "best": best, "budget": budget}


def initial(seed: int) -> PyTree:
    """15 normal weights into each unit, all others and the biases zero."""
    rng = np.random.default_rng(seed)
    layers = []
    for fan_in, units in pairwise(WIDTHS):
        weight = np.zeros((fan_in, units), np.float32)
        for unit in range(units):
            weight[rng.choice(fan_in, INCOMING, replace=False), unit] = rng.standard_normal(INCOMING)
        layers.append((jnp.asarray(weight), jnp.zeros(units, jnp.float32)))
    return layers


def outputs(params: PyTree, x: jax.Array) -> jax.Array:
    """The logits of the pixels."""
    for layer, (weight, bias) in enumerate(params, 1):
        x = affine(x, weight, bias)
        if layer not in (CODE, len(params)):
            x = sigmoid(x)
    return x


def outputs_loss(logits: jax.Array, x: jax.Array) -> jax.Array:
    """Cross entropy, summed over the pixels, mean over the images."""
    return optax.sigmoid_binary_cross_entropy(logits, x).sum(-1).mean()


def loss(params: PyTree, x: jax.Array) -> jax.Array:
    """The objective."""
    return outputs_loss(outputs(params, x), x)


def part_of(x: jax.Array, parts: int, step: jax.Array | int) -> jax.Array:
    """The images whose curvature this step takes: one part after the other, and from the first again."""
    size = len(x) // parts
    return jax.lax.dynamic_slice_in_dim(x, step % parts * size, size)


def exchange_rates(x: jax.Array, parts: int) -> dict[str, Any]:
    """A loss on all images, a gradient and a Gauss-Newton product on a part of them, in gradients on all."""

    def linearized(params: PyTree, x: jax.Array) -> Any:
        return linearized_ggnvp(lambda p: outputs(p, x), lambda o: outputs_loss(o, x), params)[1]

    params, part = initial(TUNING_SEEDS[0]), part_of(x, parts, 0)
    product = jax.jit(linearized)(params, part)
    gradient = jax.jit(jax.value_and_grad(loss))
    calls = {
        "gradient": (gradient, (params, x)),
        "loss": (jax.jit(loss), (params, x)),
        "gradient_of_part": (gradient, (params, part)),
        "ggnvp": (jax.jit(lambda product, v: product(v)), (product, params)),
    }
    taken = {name: timing.median for name, timing in interleaved(calls, repeats=31, budget=60.0).items()}
    return {name: taken[name] / taken["gradient"] for name in calls} | {"seconds": taken["gradient"]}


def run_adam(x: jax.Array, rate: float, seed: int, budget: int) -> dict[str, Any]:
    """As many steps as the budget has gradients."""
    tx = adam(rate)

    @jax.jit
    def steps(params: PyTree, state: PyTree, x: jax.Array) -> tuple[PyTree, PyTree]:
        def step(carry: Any, _: None) -> Any:
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params, x), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), None, length=min(CHUNK, budget))[0]

    params = initial(seed)
    state, curve = tx.init(params), []
    for done in range(min(CHUNK, budget), budget + 1, min(CHUNK, budget)):
        params, state = steps(params, state, x)
        curve.append((done, float(jax.jit(loss)(params, x))))
    last = curve[-1][1]
    return {"loss": last if np.isfinite(last) else 1e30, "curve": curve}


def run_gauss_newton(
    x: jax.Array, solver: tuple[int, int], seed: int, budget: int, rates: dict[str, Any]
) -> dict[str, Any]:
    """Steps until the next would cost more than is left; a step beyond the budget does not count."""
    parts, cg_limit = solver
    tx = gauss_newton(DAMPING, cg_limit=cg_limit, probes=PROBES)

    @jax.jit
    def step(params: PyTree, state: PyTree, x: jax.Array) -> tuple[PyTree, PyTree, jax.Array]:
        def value_fn(params: PyTree) -> jax.Array:
            return loss(params, x)

        part = part_of(x, parts, state.iterations)
        value, grad = jax.value_and_grad(value_fn)(params)
        updates, state = tx.update(
            grad, state, params, value=value, grad=grad, value_fn=value_fn,
            outputs_fn=lambda p: outputs(p, part), outputs_loss=lambda o: outputs_loss(o, part),
        )  # fmt: skip
        return optax.apply_updates(params, updates), state, value

    params = initial(seed)
    state: Any = tx.init(params)
    curve, cost, new = [], 0.0, params
    while cost <= budget and not (curve and bool(state.stalled)):
        params = new
        new, state, value = step(params, state, x)
        curve.append((cost, float(value)))
        cost = _cost(state.counts, int(state.iterations), rates)
    return {"loss": curve[-1][1], "curve": [*curve[: -1 : -(-len(curve) // POINTS)], curve[-1]]}


def _cost(used: counts.Counts, steps: int, rates: dict[str, Any]) -> float:
    """A step takes one gradient on all images; its other gradients, to linearize and of probes, are on the part."""
    return (
        steps
        + rates["gradient_of_part"] * (float(used.gradient) - steps)
        + rates["loss"] * float(used.loss)
        + rates["ggnvp"] * float(used.ggnvp)
    )


def run(name: str, setting: Setting, part: Part) -> None:
    """Measure in a process of its own; what it has finished stays in a file beside the results."""
    part.data |= alone(name, setting, part, LIMIT)
    for record in part.data["tuning"] + part.data["runs"]:
        setting.say(f"{record['method']:12} {_setting(record):34} seed {record['seed']}: {record['loss']:.4g}")


def targets(name: str, part: Part) -> list[Target]:
    """The median over seeds of Gauss-Newton's loss in Adam's."""
    ratios = [_loss(part, "gauss_newton", seed) / _loss(part, "adam", seed) for seed in SEEDS]
    what = f"deep autoencoder, {part.data['budget']} gradient-equivalents: loss of Gauss-Newton / tuned Adam"
    return [
        Target(f"{what}, median and highest of {len(SEEDS)} seeds", [float(np.median(ratios)), max(ratios)], [1, 1])
    ]


def lines(name: str, part: Part) -> list[str]:
    """A row a seed."""
    data = part.data
    rows = [
        f"| {s} | {number(_loss(part, 'gauss_newton', s), 4)} | {number(_loss(part, 'adam', s), 4)} |" for s in SEEDS
    ]
    tuned = {method: [r for r in data["tuning"] if r["method"] == method] for method in ("adam", "gauss_newton")}
    losses = {
        method: "; ".join(f"{_setting(r)}: {r['loss']:.4g}" for r in records) for method, records in tuned.items()
    }
    costs = ", ".join(
        f"of 1 in {r['parts']} a gradient {r['gradient_of_part']:.2f} and a Gauss-Newton product {r['ggnvp']:.2f}"
        for r in data["rates"]
    )
    return [
        "784-250-100-30-100-250-784 in float32, sigmoid units, linear code, cross entropy, sparse initialization; "
        f"{data['rates'][0]['examples']} images, of which one part after the other gives Gauss-Newton's steps their "
        f"curvature. In gradients of all images a loss of all costs {data['rates'][0]['loss']:.2f}, {costs}. "
        f"Settings by a seed apart, the lowest loss counting: Adam {losses['adam']}; Gauss-Newton, with {PROBES} probe "
        f"for preconditioning and a first damping of {DAMPING:g}, {losses['gauss_newton']}.", "",
        "| seed | Gauss-Newton | Adam |", "|---:|---:|---:|", *rows, "",
    ]  # fmt: skip


def _setting(record: dict[str, Any]) -> str:
    if record["method"] == "adam":
        return f"rate {record['rate']:g}"
    return f"1 part in {record['parts']}, {record['cg_limit']} CG iterations"


def _loss(part: Part, method: str, seed: int) -> float:
    return next(r["loss"] for r in part.data["runs"] if (r["method"], r["seed"]) == (method, seed))
