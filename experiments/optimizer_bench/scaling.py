"""What a step of second order takes, in time and in memory, as the number N of parameters grows: as which power of N.

Softmax regression on made-up features, in float64: more of them make N larger, the examples stay as many. What a step
of Newton-CG and of the line searches takes in evaluations changes little with N, and stands in the table.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax231.core.types import PyTree
from jax231.measure.timing import interleaved
from jax231.optim import catalog, reuse
from optimizer_bench.cases import CLASSES
from optimizer_bench.growth import Curve, exponent
from optimizer_bench.objectives import softmax_regression
from optimizer_bench.parts import Part, Setting, Target, alone, number

DENSE = ("newton", "bfgs")
METHODS = (*DENSE, "lbfgs", "newton_cg")
SIZES = (30, 60, 110, 220, 420, 800, 1550, 3000)
BEYOND = (10_000, 32_000, 100_000, 320_000, 1_000_000)
"""Sizes for those that keep no matrix."""

EXAMPLES = 100
WALK = 2
"""Steps from zero to the point where a step is measured."""

GRADIENT = "gradient"
FIGURE = "bench-optimizers-scaling.png"


def measure(quick: bool, _: str) -> dict[str, Any]:
    """A row a size and method, and one for the gradient; all of a size take turns."""
    sizes, beyond = ((100, 300), (3000,)) if quick else (SIZES, BEYOND)
    rows = []
    for n in (*sizes, *beyond):
        programs, facts = prepared(n, METHODS if n in sizes else METHODS[len(DENSE) :])
        for name, timing in interleaved(programs, repeats=3 if quick else 31, budget=4.0).items():
            rows.append({"method": name, "n": n, "seconds": timing.median, "spread": timing.spread, **facts[name]})
    return {"rows": rows}


def prepared(n: int, methods: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Compiled calls with their arguments, and of each the bytes it needs and what one call evaluates."""
    given = tuple(map(jax.device_put, data(n)))
    zero = jnp.zeros(n, given[0].dtype)
    gradient = jax.jit(jax.value_and_grad(softmax_regression)).lower(zero, *given).compile()
    programs: dict[str, Any] = {GRADIENT: (gradient, (zero, *given))}
    facts = {GRADIENT: _facts(gradient, (), {"gradient": 1})}
    for name in methods:
        tx = catalog.entry(name).builder()
        x, state = zero, tx.init(zero)
        program = jax.jit(step(tx)).lower(x, state, *given).compile()
        for _ in range(WALK):
            x, state = program(x, state, *given)
        used = jax.tree.map(jnp.subtract, program(x, state, *given)[1].counts, state.counts)
        programs[name] = program, (x, state, *given)
        facts[name] = _facts(program, state, {what: int(often) for what, often in used._asdict().items() if often})
    return programs, facts


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (examples, n / 10 - 1), of which direction i has a variance as 1 / i^2, and labels."""
    features, rng = n // CLASSES - 1, np.random.default_rng(n)
    hidden = rng.standard_normal((EXAMPLES, EXAMPLES)) * 10 / np.arange(1, EXAMPLES + 1)
    x = hidden @ rng.standard_normal((EXAMPLES, features)) / np.sqrt(features)
    return x, rng.integers(CLASSES, size=EXAMPLES)


def step(tx: optax.GradientTransformationExtraArgs) -> Callable[..., tuple[PyTree, PyTree]]:
    """A whole step, as a solver in full batch makes it: the next point and state."""

    def advance(x: jax.Array, state: PyTree, *given: jax.Array) -> tuple[PyTree, PyTree]:
        def fun(x: jax.Array) -> jax.Array:
            return softmax_regression(x, *given)

        value, grad = reuse.value_and_grad(fun, x, state)
        updates, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=fun)
        return optax.apply_updates(x, updates), state

    return advance


def _facts(program: jax.stages.Compiled, state: PyTree, used: dict[str, int]) -> dict[str, Any]:
    kept = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    memory = program.memory_analysis()
    assert memory is not None  # XLA's compilers tell it
    return {"state": kept, "temporary": memory.temp_size_in_bytes, "used": used}


def curve(part: Part, method: str) -> Curve:
    """All sizes of a method."""
    rows = _rows(part, method)
    sizes, seconds = [row["n"] for row in rows], [row["seconds"] for row in rows]
    memory = [row["state"] + row["temporary"] for row in rows]
    title = "value and gradient" if method == GRADIENT else catalog.entry(method).title
    return Curve(title, sizes, seconds, memory, exponent(sizes, seconds), exponent(sizes, memory))


def run(name: str, setting: Setting, part: Part) -> None:
    """Measure in a process of its own, and draw."""
    part.data |= alone(name, setting, part, 1200.0)
    for row in part.data["rows"]:
        milliseconds, megabytes, _ = _cells(row)
        setting.say(f"{row['method']:9} N {row['n']:7}: {milliseconds} ms, {megabytes} MB")
    if not setting.quick:
        from optimizer_bench import scaling_figure  # matplotlib comes with an extra

        scaling_figure.draw(
            [curve(part, method) for method in (GRADIENT, *METHODS)], setting.checkpoints.parent / FIGURE
        )


def targets(name: str, part: Part) -> list[Target]:
    """The exponents: figures, for how a step should grow is no bound on a fit."""
    curves = [curve(part, method) for method in METHODS]
    titles = ", ".join(each.title for each in curves)
    return [
        Target(f"{what} of a step as a power of the number of parameters: {titles}", values, [None] * len(curves))
        for what, values in (("time", [each.time for each in curves]), ("memory", [each.memory for each in curves]))
    ]


def lines(name: str, part: Part) -> list[str]:
    """A row a method: its exponents, and what a step takes at the largest size of all methods and at the largest."""
    largest = [max(row["n"] for row in _rows(part, method)) for method in METHODS]
    shown = min(largest), max(largest)
    rows = []
    for method in (GRADIENT, *METHODS):
        each, known = curve(part, method), {row["n"]: row for row in _rows(part, method)}
        cells = [cell for n in shown for cell in (_cells(known[n]) if n in known else ["-"] * 3)]
        rows.append("| " + " | ".join((each.title, f"{each.time:.2f}; {each.memory:.2f}", *cells)) + " |")
    return [
        f"Softmax regression on made-up features in float64, {CLASSES} classes and {EXAMPLES} examples at any size; "
        f"the step after {WALK} others from zero. Time and memory are fitted as powers of N on the larger half of each "
        "method's sizes. Memory is the optimizer's state with the temporary arrays of the compiled step, without "
        f"parameters, data and results. [Figure](experiments/results/{FIGURE}).", "",
        "| what | powers of N: time; memory | " + " | ".join(f"N = {n:,}: ms | MB | evaluations" for n in shown) + " |",
        "|---|---:|" + "---:|---:|---|" * 2, *rows, "",
    ]  # fmt: skip


def _rows(part: Part, method: str) -> list[dict[str, Any]]:
    return [row for row in part.data["rows"] if row["method"] == method]


def _cells(row: dict[str, Any]) -> list[str]:
    """Milliseconds, megabytes, and what was evaluated."""
    evaluated = ", ".join(f"{often} {what}" for what, often in row["used"].items())
    return [number(1e3 * row["seconds"]), number((row["state"] + row["temporary"]) / 1e6), evaluated]
