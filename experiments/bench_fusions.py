"""Are batch norm with ReLU, cross entropy, dropout and a convolution's bias at the limit that memory sets?

    python experiments/bench_fusions.py

times each of them, forward and with its gradient, interleaved with a copy of the same arrays, and says which share of
the copy's speed its indispensable bytes pass at: near 100 % no kernel of one's own could be faster. Writes
``experiments/results/bench-fusions.json`` and the table in the README.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import cyclopts
import jax
import jax.numpy as jnp
import numpy as np
from document import replace_between

from jax231.core.files import write_whole
from jax231.functional import batch_norm_train, conv2d, dropout, relu, softmax_cross_entropy
from jax231.measure import machine
from jax231.measure.timing import Timing, interleaved

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- fusions:begin, made by `python experiments/bench_fusions.py` -->", "<!-- fusions:end -->"
FLOAT = 4


@dataclass(frozen=True, kw_only=True)
class Config:
    """How long is measured, and where it goes."""

    repeats: int = 21
    """Rounds, in which all forms of a case take turns."""

    budget: float = 8.0
    """Seconds that a case may take."""

    results: Path = HERE / "results" / "bench-fusions.json"
    """Where the figures go."""

    document: Path = HERE.parent / "README.md"
    """Where the table goes, between its markers."""


class Case(NamedTuple):
    """A function of arrays, and how often every entry of the first must at least pass through memory.

    `others` are the same work in another form, `parts` what it contains at least, run forward only.
    """

    title: str
    call: Callable[..., jax.Array]
    arrays: tuple[jax.Array, ...]
    forward: int
    backward: int
    others: Mapping[str, Callable[..., jax.Array]] = MappingProxyType({})
    parts: Mapping[str, Callable[..., jax.Array]] = MappingProxyType({})


class Row(NamedTuple):
    """What was measured of a form; `share` is that of the copy's bytes a second which its least bytes pass at."""

    case: str
    form: str
    name: str
    milliseconds: float
    spread: float
    copy_milliseconds: float
    share: float | None


def cases() -> list[Case]:
    """All, at sizes beyond the caches."""
    rng = np.random.default_rng(231)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape, np.float32))

    def norm(x, scale, bias):
        return batch_norm_train(x, scale, bias, jnp.zeros_like(scale), jnp.ones_like(bias), relu=True)[0]

    def stock_norm(x, scale, bias):
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return jnp.maximum((x - mean) * (scale * jax.lax.rsqrt(var + 1e-5)) + bias, 0)

    def entropy(logits):
        return softmax_cross_entropy(logits, jnp.arange(len(logits)) % logits.shape[1])

    def thinned(x):
        return dropout(_key(x), x, 0.5)

    def bits(x):
        return jax.random.bits(_key(x), x.shape, jnp.uint32).astype(x.dtype)

    def layer(x, kernel, bias):
        return relu(conv2d(x, kernel, bias))

    def alone(x, kernel, bias):
        return conv2d(x, kernel)

    images, rows = ((128, 32, 32, 16), (128, 16, 16, 64)), ((4096, 1000), (256, 50_257))
    return [
        *(Case(f"batch norm and ReLU, {shape}", norm, (normal(*shape), jnp.ones(shape[-1]), jnp.zeros(shape[-1])), 3, 5,
               others={"XLA's fusion": stock_norm}) for shape in images),
        *(Case(f"softmax cross entropy, {shape}", entropy, (normal(*shape),), 1, 2,
               parts={"exponentials": jnp.exp}) for shape in rows),
        Case("dropout, (128, 32, 32, 32)", thinned, (normal(128, 32, 32, 32),), 2, 2, parts={"random bits": bits}),
        Case("3x3 convolution with bias and ReLU, (128, 32, 32, 16)", layer,
             (normal(128, 32, 32, 16), normal(3, 3, 16, 16), normal(16)), 2, 4,
             others={"without bias and ReLU": alone}),
    ]  # fmt: skip


def _key(x: jax.Array) -> jax.Array:
    """A key that is not known to the compiler, which would otherwise draw the bits itself, and slowly."""
    return jax.random.key(jax.lax.bitcast_convert_type(x.ravel()[0], jnp.uint32))


def with_gradient(call: Callable[..., jax.Array]) -> Callable[..., Any]:
    """The value, and the gradients of half its square, which need no other array than the value."""

    def run(*arrays: jax.Array) -> Any:
        y, pull = jax.vjp(call, *arrays)
        return y, pull(y)

    return run


def measured(case: Case, config: Config) -> list[Row]:
    """The forms of a case in turns with a copy."""
    forms: dict[tuple[str, str], Any] = {}
    for name, call in {"jax231": case.call, **case.others, **case.parts}.items():
        forms["forward", name] = (jax.jit(call), case.arrays)
        if name not in case.parts:
            forms["gradient", name] = (jax.jit(with_gradient(call)), case.arrays)
    first = case.arrays[0]
    copy = {"copy": (jax.jit(lambda x: x + 1), (first,))}
    calls = {f"{form} {name}": work for (form, name), work in forms.items()}
    times = interleaved(copy | calls, repeats=config.repeats, budget=config.budget)
    return [_row(case, form, name, times[f"{form} {name}"], times["copy"]) for form, name in forms]


def _row(case: Case, form: str, name: str, time: Timing, copy: Timing) -> Row:
    passes = case.forward + (case.backward if form == "gradient" else 0)
    rate = 2 * FLOAT * math.prod(case.arrays[0].shape) / copy.median
    share = passes * FLOAT * math.prod(case.arrays[0].shape) / time.median / rate if name == "jax231" else None
    return Row(case.title, form, name, 1e3 * time.median, time.spread, 1e3 * copy.median, share)


def table(rows: list[Row], facts: dict[str, Any]) -> str:
    """What stands in the README."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    lines = [
        f"`python experiments/bench_fusions.py` on {facts['device']['cpu']}, {facts['device']['cores']} cores; "
        f"{versions}. "
        "float32, medians of interleaved rounds (interquartile range over the median). The share is that of a copy's "
        "bytes a second which the indispensable bytes pass at.",
        "",
        "| what | form | ms | share of the copy's speed | beside it, ms |",
        "|---|---|---:|---:|---|",
    ]
    for row in (row for row in rows if row.name == "jax231"):
        beside = [
            other for other in rows if other.case == row.case and other.name != "jax231" and other.form == row.form
        ]
        cells = (
            row.case, row.form, f"{row.milliseconds:.2f} ({row.spread:.0%})", f"{row.share or 0:.0%}",
            "; ".join(f"{other.name} {other.milliseconds:.2f} ({other.spread:.0%})" for other in beside) or "-",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> list[Row]:
    """Measure the fusions against the speed of memory."""
    facts = {"device": machine.device(), "versions": machine.versions(), "revision": machine.revision()}
    rows: list[Row] = []
    for case in cases():
        for row in measured(case, config):
            print(f"{row.case:55} {row.form:9} {row.name:22} {row.milliseconds:8.2f} ms ({row.spread:.0%})"
                  + (f"  {row.share:.0%} of a copy's speed" if row.share else ""))  # fmt: skip
            rows.append(row)
    write_whole(config.results, json.dumps({**facts, "rows": [row._asdict() for row in rows]}, indent=1) + "\n")
    replace_between(config.document, BEGIN, END, table(rows, facts))
    print(f"figures in {config.results}, table in {config.document}")
    return rows


if __name__ == "__main__":
    cyclopts.run(main, result_action="return_value")
