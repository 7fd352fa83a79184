"""Is this gradient right? Centred differences in float64, as the course checks them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax231.core import tree
from jax231.core.checks import is_concrete, require
from jax231.core.types import Key, PyTree
from jax231.curvature.checked import scalar

ROUNDINGS = 10
"""By how many units in the last place a value of the function may be off."""


class GradientReport(NamedTuple):
    """What `gradcheck` found. The entry named is the worst of those that crossed no kink."""

    passed: bool
    relative_error: float
    """``|analytic - numeric| / max(|analytic|, |numeric|)`` of that entry; 0 where rounding explains the difference."""
    name: str
    """The leaf of the entry, ``"conv1/kernel"``; empty where the parameters are one bare array."""
    index: tuple[int, ...]
    analytic: float
    numeric: float
    checked: int
    """How many entries were compared."""
    kinks: int
    """How many of them disagree as at a kink, and so say nothing."""
    rtol: float

    def __str__(self) -> str:
        place = f"{self.name or 'params'}[{', '.join(map(str, self.index))}]"
        return (
            f"{place}: analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, "
            f"relative error {self.relative_error:.3g} (rtol {self.rtol:g}); "
            f"{self.checked} entries checked, {self.kinks} of them at kinks"
        )


def gradcheck(
    fun: Callable[..., Any],
    params: PyTree,
    *args: Any,
    key: Key | None = None,
    samples: int = 64,
    step: float = 1e-5,
    rtol: float = 1e-5,
) -> GradientReport:
    """Compare the gradient of ``fun(params, *args)`` with centred differences, ``(f(x + h) - f(x - h)) / 2h``.

    Floating point numbers in `params` and in the arrays `args` become float64 and `fun` runs with 64-bit types on,
    whatever is in force outside: in float32 the differences would be too coarse to judge. Where `fun` itself casts to
    float32, take a step of 1e-3 and an rtol of 1e-2.

    Of every leaf all entries are compared, or `samples` random ones if there are more. A disagreement no larger than
    that between the two one-sided differences is counted as a kink: another branch of a ReLU or a maximum within
    `step`. Kinks do not fail the check unless they outnumber the other entries; fewer examples or a smaller step make
    fewer of them.

    Cost:    two evaluations an entry and one gradient, as one compiled program.
    Raises:  ValueError where `fun` does not return one real number (no aux), for parameters that are not floating point
             numbers, none or traced, for a sample, step or rtol that is not positive.
    Source:  CS231n notes, neural-networks-3, gradient checks.
    """
    where = "gradcheck"
    require(samples >= 1 and step > 0 and rtol > 0, where, "a positive number of samples, step and rtol",
            samples=samples, step=step, rtol=rtol)  # fmt: skip
    for name, leaf in zip(tree.names(params), jax.tree.leaves(params), strict=True):
        real = is_concrete(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        require(real, where, "floating point numbers that are not traced", leaf=name, value=leaf)
    require(jax.tree.leaves(params) != [], where, "parameters with at least one leaf", params=params)

    with jax.enable_x64(True):
        params, args = jax.tree.map(_float64, (params, args))
        jax.eval_shape(scalar(where, fun), params, *args)
        chosen = _choose(jax.random.key(0) if key is None else key, params, samples)
        analytic, below, here, above = map(np.asarray, _differences(fun, params, args, chosen, step))
    return _judge(params, chosen, analytic, below, float(here), above, step, rtol)


def check_gradient(fun: Callable[..., Any], params: PyTree, *args: Any, **options: Any) -> GradientReport:
    """`gradcheck` that insists: the report if the gradient is right.

    Raises:  ValueError that names the worst entry if it is not; otherwise as `gradcheck`, whose `options` it takes.
    """
    report = gradcheck(fun, params, *args, **options)
    if not report.passed:
        raise ValueError(f"check_gradient: expected a gradient that agrees with centred differences; got {report}")
    return report


def _float64(leaf: Any) -> Any:
    floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    return np.asarray(leaf).astype(np.float64) if floating else leaf


def _choose(key: Key, params: PyTree, samples: int) -> np.ndarray:
    """Places in the raveled parameters: all those of a leaf, or `samples` random ones."""
    places, start = [], 0
    for leaf in jax.tree.leaves(params):
        key, use = jax.random.split(key)
        some = np.arange(leaf.size)
        if leaf.size > samples:
            some = np.sort(jax.random.choice(use, leaf.size, (samples,), replace=False))
        places.append(start + some)
        start += leaf.size
    return np.concatenate(places)


def _differences(fun: Callable[..., Any], params: PyTree, args: tuple, chosen: np.ndarray, step: float) -> tuple:
    """The gradient at the chosen entries, and the function below, at and above each of them."""
    point, unravel = tree.ravel(params)
    # A small function spends its time on overhead, so many copies run as one; a large one fills the machine alone.
    together = int(np.clip(2**16 // point.size, 1, 64))

    @jax.jit
    def run(point: jax.Array, args: tuple, chosen: jax.Array) -> tuple:
        def value(flat: jax.Array) -> jax.Array:
            return fun(unravel(flat), *args).astype(point.dtype)

        def around(place: jax.Array) -> tuple[jax.Array, jax.Array]:
            return value(point.at[place].add(-step)), value(point.at[place].add(step))

        here, gradient = jax.value_and_grad(value)(point)
        below, above = jax.lax.map(around, chosen, batch_size=together)
        return gradient[chosen], below, here, above

    return run(point, args, jnp.asarray(chosen))


def _judge(params: PyTree, chosen: np.ndarray, analytic: np.ndarray, below: np.ndarray, here: float, above: np.ndarray,
           step: float, rtol: float) -> GradientReport:  # fmt: skip
    with np.errstate(invalid="ignore"):  # a function or a gradient that is not finite is a finding, not an accident
        numeric = (above - below) / (2 * step)
        difference = np.abs(analytic - numeric)
        gap = np.abs(above - 2 * here + below) / step
    finite = np.isfinite(difference)
    size = np.maximum(np.abs(analytic), np.abs(numeric))
    largest = np.maximum(abs(here), np.maximum(np.abs(above), np.abs(below)))
    rounding = ROUNDINGS * np.finfo(np.float64).eps * largest / step
    error = np.where(finite, 0.0, np.inf)
    np.divide(difference, size, out=error, where=finite & (difference > rounding))
    kink = finite & (error > rtol) & (difference <= gap)
    worst = int(np.argmax(np.where(kink, -1, error)))
    name, index = _entry(params, int(chosen[worst]))
    kinks = int(kink.sum())
    passed = bool(np.all(kink | (error <= rtol))) and 2 * kinks <= len(chosen)
    return GradientReport(
        passed,
        float(error[worst]),
        name,
        index,
        float(analytic[worst]),
        float(numeric[worst]),
        len(chosen),
        kinks,
        rtol,
    )


def _entry(params: PyTree, place: int) -> tuple[str, tuple[int, ...]]:
    for name, leaf in zip(tree.names(params), jax.tree.leaves(params), strict=True):
        if place < leaf.size:
            return name, tuple(map(int, np.unravel_index(place, leaf.shape)))
        place -= leaf.size
    raise IndexError(place)
