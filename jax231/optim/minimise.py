"""A minimum of a function, found by one compiled loop: any second-order method of the catalog, any pytree."""

import enum
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import is_concrete, require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.optim import catalog, counts, reuse

PATIENCE = 20
"""Steps without a value below all before, after which a run is stalled: a line search accepts equal values too."""


class Status(enum.IntEnum):
    """Why a run ended, or that it goes on."""

    RUNNING = 0
    CONVERGED = 1
    """The largest entry of the gradient is at most `gtol`."""
    FLAT = 2
    """A step lowered the value by `ftol` of it, or less."""
    STALLED = 3
    """No step along the method's direction, nor along the gradient, lowers the value, or none has for `PATIENCE` steps:
    often the limit of rounding."""
    STEPS = 4
    """`max_steps` were done."""
    NOT_FINITE = 5
    """The value or the gradient of the next point is infinite or not a number; the run stays where it was."""


class Result(NamedTuple):
    """Where a run ended, and how; of several runs under `jax.vmap`, each leaf with an axis of runs in front.

    `grad_norm` is the largest entry of the gradient at x, in absolute value. `converged` is true for a gradient within
    `gtol` only; `status` is a `Status`. `history` holds the values at the start and after each step, NaN after the
    last, where it was asked for; `aux` what the function returned beside the value at x.
    """

    x: PyTree
    value: Float[Array, ""]
    grad_norm: Float[Array, ""]
    converged: Bool[Array, ""]
    status: Int[Array, ""]
    steps: Int[Array, ""]
    counts: counts.Counts
    history: Float[Array, " steps"] | None = None
    aux: PyTree = None


class _Run(NamedTuple):
    x: PyTree
    opt: PyTree
    value: Float[Array, ""]
    grad: PyTree
    status: Int[Array, ""]
    steps: Int[Array, ""]
    lowest: Float[Array, ""]
    since: Int[Array, ""]
    history: Float[Array, " steps"]


def minimise(
    fun: Callable[..., Any],
    x0: PyTree,
    args: tuple[Any, ...] = (),
    *,
    method: str | optax.GradientTransformationExtraArgs = "lbfgs",
    options: Mapping[str, Any] | None = None,
    gtol: Scalar = 1e-5,
    ftol: Scalar = 0.0,
    max_steps: int = 10_000,
    has_aux: bool = False,
    history: bool = False,
) -> Result:
    """Minimise ``fun(x, *args)`` from `x0`.

    `method` is a second-order entry of the catalog, built with `options`, or a transformation of one's own, whose state
    may have `counts`, `stalled` and `kept` as theirs have. The run ends where the largest entry of the gradient is at
    most `gtol` (SciPy's meaning, and the only thing that is called convergence), where a step lowers the value by at
    most ``ftol * max(|value before|, |value after|, 1)`` (SciPy's L-BFGS-B; 0 never does), where no step lowers it, or
    after `max_steps`. That a run does not converge is told, not raised.

    The program is compiled once for a function, a method and the shapes: what changes between calls belongs into
    `args`, and `fun` should be the same object each time. Under `jax.vmap` over starts or arguments a lane that has
    ended stays as it is while the others go on.

    Raises:  ValueError for parameters that are not real floating-point numbers, a start or its value that is not finite
             (where it can be seen), a function that returns no scalar, or returns more without `has_aux`, a method that
             needs a step size, a negative tolerance.
    Source:  Nocedal & Wright 2006.
    """
    where = "minimise"
    require_nonnegative(where, gtol=gtol, ftol=ftol)
    require(max_steps >= 0, where, "a number of steps of at least 0", max_steps=max_steps)
    x0 = jax.tree.map(jnp.asarray, x0)
    for name, leaf in zip(tree.names(x0), jax.tree.leaves(x0), strict=True):
        require(jnp.issubdtype(leaf.dtype, jnp.floating), where, "parameters in floating point", **{name or "x0": leaf})
    _require_scalar(where, jax.eval_shape(fun, x0, *args), has_aux)
    chosen: Any = method
    if isinstance(method, str):
        chosen = _Method(method, tuple(sorted((options or {}).items())))
        chosen.build()  # an unknown name or option is told here, not from inside the program
    length = max_steps + 1 if history else 0
    result = _minimise(fun, chosen, has_aux, length, x0, args, gtol, ftol, max_steps)
    if is_concrete(result.status) and result.status.ndim == 0:
        broken = int(result.steps) == 0 and int(result.status) == Status.NOT_FINITE
        require(not broken, where, "a finite value and gradient at x0", value=float(result.value))
    return result


class _Method(NamedTuple):
    """An entry of the catalog by name, with its options: hashable, and so a part of what is compiled once."""

    name: str
    options: tuple[tuple[str, Any], ...]

    def build(self) -> optax.GradientTransformationExtraArgs:
        """Its transformation."""
        entry = catalog.entry(self.name)
        expected = "a second-order method, or a transformation with its rate"
        require(entry.order == 2, "minimise", expected, method=self.name)
        return entry.builder(**dict(self.options))


def _require_scalar(where: str, returned: Any, has_aux: bool) -> None:
    if has_aux:
        pair = isinstance(returned, tuple) and len(returned) == 2
        require(pair, where, "a pair (value, aux) from fun with has_aux", returned=returned)
        returned = returned[0]
    require(not isinstance(returned, tuple), where, "a value alone from fun, or has_aux=True", returned=returned)
    scalar = getattr(returned, "shape", None) == () and jnp.issubdtype(returned.dtype, jnp.floating)
    require(scalar, where, "a scalar in floating point from fun", returned=returned)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _minimise(
    fun: Callable[..., Any],
    method: Any,
    has_aux: bool,
    length: int,
    x0: PyTree,
    args: tuple[Any, ...],
    gtol: Scalar,
    ftol: Scalar,
    max_steps: Int[Array, ""],
) -> Result:
    tx = method.build() if isinstance(method, _Method) else optax.with_extra_args_support(method)

    def value_fn(x: PyTree) -> Array:
        out = fun(x, *args)
        return out[0] if has_aux else out

    def ended(value: Array, grad: PyTree) -> Array:
        """CONVERGED, NOT_FINITE or RUNNING, by what is known of one point."""
        norm = _largest(grad)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        return jnp.where(finite, jnp.where(norm <= gtol, Status.CONVERGED, Status.RUNNING), Status.NOT_FINITE)

    def step(run: _Run) -> _Run:
        evaluated = {"value": run.value, "grad": run.grad, "value_fn": value_fn}
        updates, opt = tx.update(run.grad, run.opt, run.x, **evaluated)
        x = optax.apply_updates(run.x, updates)
        value, grad = reuse.value_and_grad(value_fn, x, opt)
        value = value.astype(run.value.dtype)
        least = ftol * jnp.maximum(jnp.maximum(jnp.abs(value), jnp.abs(run.value)), 1)
        flat = (ftol > 0) & (run.value - value <= least)
        status = ended(value, grad)
        going = status == Status.RUNNING
        status = jnp.where(going & (run.steps + 1 >= max_steps), Status.STEPS, status)
        status = jnp.where(going & flat, Status.FLAT, status)
        since = jnp.where(value < run.lowest, 0, run.since + 1)
        stalled = jnp.asarray(getattr(opt, "stalled", False)) | (since >= PATIENCE)
        status = jnp.where(going & stalled, Status.STALLED, status)
        values = run.history.at[run.steps + 1].set(value) if length else run.history
        lowest = jnp.fmin(run.lowest, value)
        x, value, grad = tree.where(status == Status.NOT_FINITE, (run.x, run.value, run.grad), (x, value, grad))
        return _Run(x, opt, value, grad, status.astype(jnp.int32), run.steps + 1, lowest, since, values)

    value, grad = jax.value_and_grad(value_fn)(x0)
    status = ended(value, grad)
    status = jnp.where((status == Status.RUNNING) & (max_steps == 0), Status.STEPS, status).astype(jnp.int32)
    values = jnp.where(jnp.arange(length) == 0, value, jnp.nan)
    zero = jnp.zeros((), jnp.int32)
    run = _Run(x0, tx.init(x0), value, grad, status, zero, value, zero, values)
    run = jax.lax.while_loop(lambda run: run.status == Status.RUNNING, step, run)
    return Result(
        x=run.x,
        value=run.value,
        grad_norm=_largest(run.grad),
        converged=run.status == Status.CONVERGED,
        status=run.status,
        steps=run.steps,
        counts=getattr(run.opt, "counts", None) or counts.none().plus(gradient=run.steps),
        history=run.history if length else None,
        aux=fun(run.x, *args)[1] if has_aux else None,
    )


def _largest(grad: PyTree) -> Array:
    """The largest absolute entry; NaN where there is one."""
    norms = [jnp.abs(leaf).max(initial=0) for leaf in jax.tree.leaves(grad)]
    return jnp.stack([norm.astype(jnp.result_type(*norms)) for norm in norms]).max() if norms else jnp.asarray(math.nan)
