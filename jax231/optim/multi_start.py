"""Minima of a function from many starts: lanes of one program, or one run after another, whichever is faster."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jax231.core import one_function
from jax231.core.checks import is_concrete, require
from jax231.core.types import PyTree, Scalar
from jax231.optim.result import Result, Status
from jax231.optim.run import Limits, Program, prepare
from jax231.optim.run_alone import run_alone, small_form

LARGE = 1000
"""Parameters from which a CPU runs starts one after another in kernels, too. L-BFGS on Rosenbrock's function, 64 bits,
two cores: 60 steps of 16 starts took 73 ms as lanes and 116 in sequence with 300 parameters, 184 and 169 with 1,000,
511 and 397 with 3,000. As one function each, 64 starts with 100 parameters took 40 ms in sequence in one thread, as
lanes in kernels, two threads, 116."""


class MultiStart(NamedTuple):
    """The runs from all starts, with an axis of starts in front; the best of them; how much of the work was needed.

    `best` has the lowest finite value, converged or not. `efficiency` is the number of steps that the runs took by the
    number that was computed: lanes that have ended wait for the slowest of their program, runs alone for none.
    """

    runs: Result
    best: Result
    efficiency: Float[Array, ""]


def multi_start(
    fun: Callable[..., Any],
    starts: PyTree,
    args: tuple[Any, ...] = (),
    *,
    lanes: str = "auto",
    method: str | optax.GradientTransformationExtraArgs = "lbfgs",
    options: Mapping[str, Any] | None = None,
    bounds: tuple[PyTree, PyTree] | None = None,
    gtol: Scalar = 1e-5,
    ftol: Scalar = 0.0,
    max_steps: int = 10_000,
    has_aux: bool = False,
    history: bool = False,
) -> MultiStart:
    """Minimise ``fun(x, *args)`` from each of `starts`, whose leaves have an axis of starts in front of a start's own.

    A lane that has ended stays as it is. `lanes` says how they run: "vmap" as lanes of one program, which computes
    every step of a small problem for all at once and so shares what a step costs beside its arithmetic; "map" one
    after another through the program of `minimise`, where none waits for the slowest and what a step reads stays in the
    caches. "auto" takes "map" on CPUs from `LARGE` parameters on and where a run is compiled as one function (see
    `jax231.optim.run_alone`), and "vmap" otherwise. On CPUs the starts are shared
    out among threads, one a core (XLA runs without Python's lock); inside `jax.jit` and on accelerators all are lanes
    of one program, or one `jax.lax.map`.

    The other arguments are those of `jax231.optim.minimise`; `bounds` are those of one start, for all. A start where
    `fun` is not finite has the status NOT_FINITE, and is an error only where no other is finite.

    Raises:  ValueError for `starts` without a common axis in front, an unknown `lanes`, starts of which none has a
             finite value and gradient (where it can be seen), and whatever `minimise` refuses.
    """
    where = "multi_start"
    require(lanes in ("auto", "vmap", "map"), where, 'lanes to be "auto", "vmap" or "map"', lanes=lanes)
    starts = jax.tree.map(jnp.asarray, starts)
    shapes = [leaf.shape for leaf in jax.tree.leaves(starts)]
    alike = len({shape[:1] for shape in shapes}) == 1 and shapes[0][:1] not in ((), (0,))
    require(alike, where, "leaves with one common axis of starts in front", starts=shapes)
    settings = {"method": method, "options": options, "bounds": bounds, "gtol": gtol, "ftol": ftol}
    lengths = {"max_steps": max_steps, "has_aux": has_aux, "history": history}
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), starts)
    program, limits = prepare(where, fun, one, args, **settings, **lengths)
    concrete = all(map(is_concrete, jax.tree.leaves((starts, args, limits))))
    cpu = jax.default_backend() == "cpu"
    alone = lanes == "map" or (lanes == "auto" and cpu and better_alone(program, one, args, limits))
    threads = max(1, min(os.cpu_count() or 1, shapes[0][0])) if concrete and cpu else 1
    if alone and concrete:
        runs, computed = _alone(program, starts, args, limits, threads)
    elif alone:
        runs = jax.lax.map(lambda x0: run_alone(program, x0, args, limits), starts)
        computed = runs.steps.sum()
    else:
        runs, computed = _together(program, starts, args, limits, threads)
    if is_concrete(runs.status):
        broken = np.all((np.asarray(runs.steps) == 0) & (np.asarray(runs.status) == Status.NOT_FINITE))
        require(not broken, where, "a start with a finite value and gradient", values=runs.value)
    lowest = jnp.argmin(jnp.where(jnp.isfinite(runs.value), runs.value, jnp.inf))
    efficiency = runs.steps.sum() / jnp.maximum(computed, 1)
    efficiency = jnp.where(computed == 0, 1, efficiency)
    return MultiStart(runs, jax.tree.map(lambda leaf: leaf[lowest], runs), efficiency)


def better_alone(program: Program, one: PyTree, args: tuple[Any, ...], limits: Limits) -> bool:
    """Whether a CPU runs starts like `one` faster one after another."""
    large = sum(leaf.size for leaf in jax.tree.leaves(one)) >= LARGE
    return large or (one_function.at_top() and small_form(program, one, args, limits) is not None)


@partial(jax.jit, static_argnums=0)
def _lanes(program: Program, starts: PyTree, args: tuple[Any, ...], limits: Limits) -> Result:
    return jax.vmap(lambda x0: run_alone(program, x0, args, limits))(starts)


def _together(
    program: Program, starts: PyTree, args: tuple[Any, ...], limits: Limits, threads: int
) -> tuple[Result, Array]:
    """The runs as lanes, in as many equal programs as there are threads, and the steps that these computed."""
    count = jax.tree.leaves(starts)[0].shape[0]
    width = -(-count // threads)
    if threads == 1:
        runs = _lanes(program, starts, args, limits)
        return runs, count * runs.steps.max()
    # The last part is filled up with the first starts, so that all parts are the same program.
    shares = np.arange(-(-count // width) * width).reshape(-1, width) % count
    parts = [jax.tree.map(lambda leaf, share=share: leaf[share], starts) for share in shares]
    done = _threaded(lambda part: _lanes(program, part, args, limits), parts, threads)
    runs = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *done)
    return runs, jnp.stack([width * part.steps.max() for part in done]).sum()


def _alone(
    program: Program, starts: PyTree, args: tuple[Any, ...], limits: Limits, threads: int
) -> tuple[Result, Array]:
    """The runs one after another in each thread, and the steps that were computed, which are theirs."""
    wanted = jax.tree.map(np.asarray, starts)  # a row of NumPy's takes a hundredth of the time of one of JAX's
    count = jax.tree.leaves(wanted)[0].shape[0]

    def several(places: Sequence[int]) -> list[Result]:
        found = [run_alone(program, jax.tree.map(lambda leaf, i=i: leaf[i], wanted), args, limits) for i in places]
        return jax.tree.map(np.asarray, found)

    shares = [range(first, count, threads) for first in range(threads)]
    done = _threaded(several, shares, threads)
    ordered = [done[place % threads][place // threads] for place in range(count)]
    runs = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *ordered)
    return runs, runs.steps.sum()


def _threaded(run: Callable[[Any], Any], parts: Sequence[Any], threads: int) -> list[Any]:
    """The results of all parts, in order."""
    settings: Any = jax.config
    precision, wide = settings.jax_default_matmul_precision, settings.jax_enable_x64

    def ready(part: Any) -> Any:
        with jax.enable_x64(wide), jax.default_matmul_precision(precision):  # a thread does not inherit such contexts
            return jax.block_until_ready(run(part))

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(ready, parts))
