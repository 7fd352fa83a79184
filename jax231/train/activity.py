"""How alive a network is: activations layer by layer, and how far a step moves the weights."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax231.core import tree
from jax231.core.types import PyTree
from jax231.models.summary import kind, parents_among
from jax231.nn.affine import Affine
from jax231.nn.bridge import rate_kinds, watched_apply
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer
from jax231.optim.paths import kernels, part
from jax231.train.case import Case, Check

MANY_DEAD, MOST_DEAD = 0.1, 0.9
SATURATED = 0.99
"""Absolute value beyond which a unit bounded by 1 (tanh, sigmoid) hardly passes a gradient."""

FADED = 1e-4
"""Deviation of a layer's output below which it says next to nothing."""

GOOD, LOW, HIGH = 1e-3, 1e-4, 1e-2
"""Length of an update over that of the weights: about GOOD, says the course; within LOW and HIGH here."""


class LayerActivity(NamedTuple):
    """A call of a layer: `mean` and `std` of its output, and shares of what it reads.

    `zeros` are entries that are exactly 0, `dead` units (entries of the last axis) that are 0 for every example,
    `saturated` entries beyond 0.99 where all lie within [-1, 1]; None where it reads the model's input.
    """

    name: str
    kind: str
    mean: float
    std: float
    zeros: float | None
    dead: float | None
    saturated: float | None


def layers(case: Case, examples: int = 128) -> list[LayerActivity]:
    """The activity of all layers without layers inside, in the order in which they run; one compiled forward pass.

    What a layer reads is what the nonlinearity before it gave: dead and saturated units are seen there.
    """
    batch = case.some(np.arange(min(examples, case.size)))
    apply = watched_apply(case.constructor)
    rates = dict.fromkeys(rate_kinds(case.constructor), 0.0)
    calls: list[tuple[str, str, bool]] = []

    @jax.jit
    def measured(params: PyTree) -> list[dict[str, jax.Array]]:
        found: list[dict[str, jax.Array]] = []

        def watch(name: str, layer: Layer, given: tuple[Any, ...], output: PyTree) -> PyTree:
            *_, last = jax.tree.leaves(output)
            read = jax.tree.leaves(given)[-1]
            inner = any(learned for _, _, learned in calls)  # else it reads the input, as it is or rearranged
            calls.append((name, kind(layer), isinstance(layer, Affine | Conv)))
            entry = {"mean": jnp.mean(last), "std": jnp.std(last)}
            if inner and jnp.issubdtype(read.dtype, jnp.floating):
                still = jnp.all(read == 0, axis=tuple(range(read.ndim - 1)))
                size = jnp.abs(read)
                entry |= {"zeros": jnp.mean(read == 0), "dead": jnp.mean(still)}
                entry |= {"saturated": jnp.where(size.max() <= 1, jnp.mean(size > SATURATED), 0.0)}
            found.append(entry)
            return output

        apply(watch, params, case.state, batch.inputs, train=True, key=case.key, rates=rates)
        return found

    found = jax.device_get(measured(case.params))
    blocks = parents_among(name for name, _, _ in calls)
    rows = [(call, row) for call, row in zip(calls, found, strict=True) if call[0] not in blocks]
    return [
        LayerActivity(name, what, float(row["mean"]), float(row["std"]), *(
            float(row[share]) if share in row else None for share in ("zeros", "dead", "saturated")))
        for (name, what, _), row in rows
    ]  # fmt: skip


def activations(case: Case, examples: int = 128) -> Check:
    """Few units are dead or saturated, and no layer's output has faded or grown without bound.

    Source: CS231n lecture 6, weight initialization and activation functions.
    """
    rows = layers(case, examples)
    numbers = {"layers": [row._asdict() for row in rows]}
    dead = max(rows, key=lambda row: row.dead or 0.0)
    saturated = max(rows, key=lambda row: row.saturated or 0.0)
    weakest, strongest = min(rows, key=lambda row: row.std), max(rows, key=lambda row: row.std)
    share, flat = dead.dead or 0.0, saturated.saturated or 0.0
    found = f"std {weakest.std:.2g} .. {strongest.std:.2g}; dead units at most {share:.0%}, saturated {flat:.0%}"
    if not all(np.isfinite([row.std for row in rows])):
        place = next(row for row in rows if not np.isfinite(row.std))
        advice = f"{place.name} gives numbers that are not finite: smaller first weights"
        return Check("activations", "failed", found, numbers, advice)
    if share > MANY_DEAD:
        advice = f"{share:.0%} of what {dead.name} reads never fires: a lower rate, He initialization, or leaky ReLU"
        return Check("activations", "failed" if share > MOST_DEAD else "warning", found, numbers, advice)
    if flat > MANY_DEAD:
        advice = f"{flat:.0%} of what {saturated.name} reads is saturated: smaller first weights (Xavier), or ReLU"
        return Check("activations", "failed" if flat > MOST_DEAD else "warning", found, numbers, advice)
    if weakest.std < FADED:
        advice = f"the output of {weakest.name} has all but vanished: larger first weights (He, Xavier), or batch norm"
        return Check("activations", "warning", found, numbers, advice)
    return Check("activations", "ok", found, numbers)


Builder = Callable[[Any], optax.GradientTransformationExtraArgs]
"""``builder(rate) -> transformation``."""


def update_ratio(case: Case, builder: Builder, rate: float, steps: int = 20, batch: int = 64) -> Check:
    """A step moves each kernel by about a thousandth of its length, in the last half of `steps` steps.

    Source: CS231n notes, neural-networks-3, "ratio of weights:updates".
    """
    names = [name for name in tree.names(case.params) if kernels(name)]
    batches = draw(case, steps, batch)

    @jax.jit
    def run(params: PyTree, state: PyTree) -> jax.Array:
        tx = builder(rate)

        def step(carry, some):
            params, state, memory, count = carry
            (_, state), grads = gradient(case, params, state, some, count)
            updates, memory = tx.update(grads, memory, params)
            pairs = zip(*(jax.tree.leaves(part(x, kernels)) for x in (updates, params)), strict=True)
            ratios = jnp.stack([jnp.linalg.norm(u.ravel()) / jnp.linalg.norm(w.ravel()) for u, w in pairs])
            return (jax.tree.map(jnp.add, params, updates), state, memory, count + 1), ratios

        start = (params, state, tx.init(params), jnp.zeros((), jnp.int32))
        return jax.lax.scan(step, start, batches)[1][steps // 2 :].mean(0)

    if not names:
        return Check("update to weight", "skipped", "the model has no kernels", {})
    ratios = np.asarray(run(case.params, case.state), np.float64)
    middle = float(np.median(ratios))
    numbers = {"rate": rate, "median": middle, "ratios": dict(zip(names, map(float, ratios), strict=True))}
    if not np.isfinite(ratios).all():
        advice = "weights or updates are not finite: the learning rate is too high"
        return Check("update to weight", "failed", f"not finite at a rate of {rate:.2g}", numbers, advice)
    found = f"{middle:.1e} (median; {ratios.min():.1e} .. {ratios.max():.1e}) at a rate of {rate:.2g}"
    if LOW <= middle <= HIGH:
        return Check("update to weight", "ok", found, numbers)
    if middle == 0:
        return Check("update to weight", "failed", found, numbers, "no weight moves: is there a gradient at all?")
    word = "low" if middle < LOW else "high"
    advice = f"the learning rate is too {word} for updates of {GOOD:g} of the weights: about {rate * GOOD / middle:.1g}"
    return Check("update to weight", "warning", found, numbers, advice)


def draw(case: Case, steps: int, batch: int) -> jax.Array:
    """Indices (steps, batch) of examples: passes over the pool, each in a new order."""
    passes = -(-steps * batch // case.size)
    keys = jax.random.split(jax.random.fold_in(case.key, 1), passes)
    order = jax.vmap(lambda key: jax.random.permutation(key, case.size))(keys).ravel()
    return order[: steps * batch].reshape(steps, batch)


def gradient(case: Case, params: PyTree, state: PyTree, indices: jax.Array, count: jax.Array) -> Any:
    """``((loss, new state), gradient)`` of a training step, noise included."""
    some, key = case.some(indices), jax.random.fold_in(case.key, count)

    def objective(params: PyTree) -> tuple[jax.Array, PyTree]:
        outputs, new = case.model.apply(params, state, some.inputs, train=True, key=key)
        return case.losses(outputs, some.targets).mean(), new

    return jax.value_and_grad(objective, has_aux=True)(params)


def worst(rows: Sequence[LayerActivity], count: int) -> list[LayerActivity]:
    """The `count` layers with the most dead or saturated units, then those of smallest deviation, in their order."""
    ranked = sorted(rows, key=lambda row: (-max(row.dead or 0, row.saturated or 0), row.std))
    return [row for row in rows if row in ranked[:count]]
