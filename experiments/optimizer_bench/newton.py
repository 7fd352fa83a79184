"""Newton's method on softmax regression over the digits: its iterations, and what the dense Hessian costs."""

from functools import partial
from typing import Any

import jax
import numpy as np

from jax231.curvature.products import hessian
from jax231.measure.timing import interleaved
from jax231.optim.minimise import minimise
from optimizer_bench import cases, objectives
from optimizer_bench.parts import Part, Setting, Target, alone, number, ratio

CASE = next(case for case in cases.CASES if case.name == "digits")


def measure(quick: bool, _: str) -> dict[str, Any]:
    """In float64: a run of Newton's method, and both Hessians in turns at a point on its way."""
    data, start = tuple(map(jax.device_put, cases.data(CASE))), cases.start(CASE)
    fun = objectives.objective(CASE)
    found = minimise(fun, start, data, method="newton", gtol=CASE.gtol)
    point = minimise(fun, start, data, method="newton", gtol=CASE.gtol, max_steps=2).x
    blocked = jax.jit(lambda x, *data: hessian(partial(_at, fun, data), x))
    dense = jax.jit(jax.hessian(fun))
    ours, theirs = (np.asarray(program(point, *data)) for program in (blocked, dense))
    calls = {"ours": (blocked, (point, *data)), "jax.hessian": (dense, (point, *data))}
    timings = interleaved(calls, repeats=3 if quick else 15, budget=2.0 if quick else 120.0)
    return {
        "iterations": int(found.steps),
        "grad_norm": float(found.grad_norm),
        "value": float(found.value),
        "difference": float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)),
        "hessians": {name: {"seconds": t.median, "spread": t.spread} for name, t in timings.items()},
    }


def _at(fun: Any, data: tuple[Any, ...], x: jax.Array) -> jax.Array:
    return fun(x, *data)


def run(name: str, setting: Setting, part: Part) -> None:
    """Measure in a process of its own."""
    part.data |= alone(name, setting, part, 900.0)
    setting.say(f"{part.data['iterations']} iterations; Hessians: {part.data['hessians']}")


def targets(name: str, part: Part) -> list[Target]:
    """Iterations, and our Hessian's time in that of `jax.hessian`."""
    taken = {what: f["seconds"] for what, f in part.data["hessians"].items()}
    return [
        Target("Newton, softmax regression on digits: iterations to 1e-6; dense Hessian / `jax.hessian`",
               [part.data["iterations"], ratio(taken["ours"], taken["jax.hessian"])], [6, 0.5]),
    ]  # fmt: skip


def lines(name: str, part: Part) -> list[str]:
    """Both Hessians."""
    data = part.data
    rows = [f"| {what} | {1e3 * f['seconds']:.3g} ({f['spread']:.0%}) |" for what, f in data["hessians"].items()]
    return [
        f"{data['iterations']} iterations from zero to a gradient of {data['grad_norm']:.1e}, value "
        f"{number(data['value'], 10)}. The Hessian of {CASE.n} parameters in float64, which differ by "
        f"{data['difference']:.0e} in norm:", "",
        "| Hessian | ms (interquartile range over it) |", "|---|---:|", *rows, "",
    ]  # fmt: skip
