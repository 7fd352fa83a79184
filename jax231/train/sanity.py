"""Before training: is the loss what it should be, can the model learn a few examples, is the gradient right?"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jax231.core.types import Batch, PyTree
from jax231.curvature.gradcheck import gradcheck
from jax231.optim.adam import adam
from jax231.optim.decay import penalty
from jax231.optim.paths import kernels, part
from jax231.train.case import Case, Check
from jax231.train.nan import first_not_finite

CLOSE, FAR = 0.1, 1.0
"""A first loss may be off by the share CLOSE of its theoretical value; beyond FAR something is wrong."""

HAPPY, KINKY, WRONG = 1e-7, 1e-4, 1e-2
"""Relative errors of the course: below the first be happy, up to the second fine with kinks, above the last wrong."""

FEW = 20
"""Examples that any model should learn by heart."""

MOST_RIGHT = 0.95
"""Share of the places of an image or text that must be learnt, where single places may contradict one another."""


def initial_loss(case: Case, examples: int = 256) -> Check:
    """The first loss is that of scores which are all alike.

    Source: CS231n notes, neural-networks-3, "look for correct loss at chance performance".
    """
    batch = case.some(np.arange(min(examples, case.size)))
    value = float(jax.jit(case.loss)(case.params, case.state, batch))
    numbers = {"loss": value, "expected": case.start}
    if not math.isfinite(value):
        place = first_not_finite(case.constructor, case.params, case.state, batch, case.losses, case.key)
        advice = "look at the inputs (are they normalized?) and at the initialization of that layer"
        return Check("initial loss", "failed", f"{value}: first not finite: {place}", numbers, advice)
    off = value / case.start - 1
    found = f"{value:.4g}, expected {case.start:.4g} ({off:+.0%})"
    if abs(off) <= CLOSE:
        return Check("initial loss", "ok", found, numbers)
    advice = (
        "the first scores are large: use smaller first weights in the last layer, or normalize the inputs"
        if off > 0
        else "below the loss of guessing before a step was taken: do the classes occur equally often, do labels leak?"
    )
    wrong = off > FAR or value < case.start / (1 + FAR)
    return Check("initial loss", "failed" if wrong else "warning", found, numbers, advice)


def regularization(case: Case, strengths: Sequence[float] = (0.0, 1e-2, 1.0), examples: int = 64) -> Check:
    """The loss rises with the strength of an L2 penalty.

    Source: CS231n notes, neural-networks-3, "increasing the regularization strength should increase the loss".
    """
    batch = case.some(np.arange(min(examples, case.size)))

    @jax.jit
    def losses(params: PyTree, strengths: jax.Array) -> jax.Array:
        return case.loss(params, case.state, batch) + jax.vmap(lambda s: penalty(params, s))(strengths)

    values = [float(x) for x in losses(case.params, jnp.asarray(strengths, jnp.float32))]
    numbers = {"strengths": list(strengths), "losses": values}
    found = " < ".join(f"{x:.4g}" for x in values) + f" at L2 {', '.join(f'{x:g}' for x in strengths)}"
    if all(a < b for a, b in itertools.pairwise(values)):
        return Check("regularization", "ok", found, numbers)
    count = len(jax.tree.leaves(part(case.params, kernels)))
    advice = f"the penalty sees {count} kernels: are the parameters named kernel or weight, and not all zero?"
    return Check("regularization", "failed", found.replace("<", ","), numbers, advice)


def overfits(case: Case, steps: int = 300, rates: Sequence[float] = (1e-3, 1e-2, 1e-1), examples: int = FEW) -> Check:
    """Adam learns a few examples by heart, every one of them, without regularization, with one of the `rates`.

    Source: CS231n lecture 6, "make sure that you can overfit a very small portion of the training data".
    """
    few = case.some(np.arange(min(examples, case.size)))
    target = 1.0 if few.targets.ndim == 1 else MOST_RIGHT

    def objective(params: PyTree, state: PyTree) -> tuple[jax.Array, jax.Array]:
        outputs = case.silenced(params, state, few)
        return case.losses(outputs, few.targets).mean(), case.hits(outputs, few.targets).mean()

    @jax.jit
    def learn(rate: jax.Array) -> tuple[jax.Array, ...]:
        tx = adam(rate)

        def step(carry):
            params, moments, count, _, _ = carry
            (loss, right), grads = jax.value_and_grad(objective, has_aux=True)(params, case.state)
            updates, moments = tx.update(grads, moments, params)
            return jax.tree.map(jnp.add, params, updates), moments, count + 1, loss, right

        def going_on(carry):
            _, _, count, loss, right = carry
            return (count < steps) & (right < target) & ((count == 0) | jnp.isfinite(loss))

        start = (case.params, tx.init(case.params), jnp.zeros((), jnp.int32), jnp.zeros(()), jnp.zeros(()))
        return jax.lax.while_loop(going_on, step, start)[2:]

    tried = []
    for rate in rates:
        taken, loss, right = (x.item() for x in learn(jnp.asarray(rate, jnp.float32)))
        tried.append((right, rate, taken, loss))
        if right >= target:
            break
    right, rate, taken, loss = max(tried)
    numbers = {"examples": len(few.targets), "accuracy": right, "loss": loss, "steps": taken, "rate": rate}
    found = f"{right:.0%} of {len(few.targets)} examples after {taken} steps of Adam at {rate:g}, loss {loss:.3g}"
    if right >= target:
        return Check("overfits 20", "ok", found, numbers)
    advice = (
        "a model that cannot learn 20 examples has a defect, in itself, its loss or labels, or too little capacity: "
        "do not train before this is found"
    )
    return Check("overfits 20", "failed", found, numbers, advice)


def gradient(case: Case, examples: int = 2, samples: int = 4) -> Check:
    """The gradient agrees with centred differences in float64, at `samples` random entries of each array.

    Source: CS231n notes, neural-networks-3, "gradient checks", with its thresholds.
    """
    batch = case.some(np.arange(min(examples, case.size)))

    def loss(params: PyTree, state: PyTree, inputs: PyTree) -> jax.Array:
        return case.loss(params, state, Batch(inputs, batch.targets))

    report = gradcheck(loss, case.params, case.state, batch.inputs, key=case.key, samples=samples)
    error = report.relative_error
    numbers = {"relative_error": error, "entry": report.name, "checked": report.checked, "kinks": report.kinks,
               "analytic": report.analytic, "numeric": report.numeric}  # fmt: skip
    found = f"relative error {error:.1e} at {report.name}; {report.checked} entries, {report.kinks} at kinks"
    if error <= HAPPY:
        exact = "" if error else "; the differences' rounding explains all that is seen"
        return Check("gradient", "ok", found + exact, numbers)
    if error <= KINKY:
        return Check("gradient", "ok", f"{found} (fine with kinks)", numbers)
    advice = f"the derivative at {report.name} is probably wrong: analytic {report.analytic:.6g}, numeric " + (
        f"{report.numeric:.6g}; look at the layers behind it"
    )
    return Check("gradient", "failed" if error > WRONG else "warning", found, numbers, advice)
