"""A run of `minimise` in three parts, start, step and result, from which its loops are built."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative
from jax231.core.operations import operations
from jax231.core.types import PyTree, Scalar
from jax231.optim import catalog, counts, reuse
from jax231.optim.bounds import Bounds, bounds_like, clip, land, projected_gradient
from jax231.optim.lbfgs_projected import lbfgs_projected
from jax231.optim.objective import require_scalar
from jax231.optim.result import PATIENCE, Result, Status


class Entry(NamedTuple):
    """A method of the catalog by name, with its options: hashable, and so a part of what is compiled once."""

    name: str
    options: tuple[tuple[str, Any], ...]

    def build(
        self, bounds: Bounds | None, fun: Callable[[PyTree], Array] | None = None, x0: PyTree = None
    ) -> optax.GradientTransformationExtraArgs:
        """Its transformation, within `bounds` where there are some, with `worthwhile_pairs` for L-BFGS on `fun`."""
        options = dict(self.options)
        if fun is not None and self.name == "lbfgs":
            options.setdefault("memory", worthwhile_pairs(fun, x0))
        if bounds is not None:
            return lbfgs_projected(bounds, **options)
        entry = catalog.entry(self.name)
        expected = "a second-order method, or a transformation with its rate"
        require(entry.order == 2, "minimise", expected, method=self.name)
        more = [need for need in entry.needs if need != "value_fn"]
        require(not more, "minimise", "a method that needs only the function", method=self.name, needs=more)
        return entry.builder(**options)


@functools.cache
def _buildable(entry: Entry) -> None:
    """Raise what its builder raises, where it does: once for an entry that does not."""
    entry.build(None)


@functools.cache
def _floating(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


class Program(NamedTuple):
    """What is compiled: the function, the method, whether the function returns more, the length of the history."""

    fun: Callable[..., Any]
    method: Entry | optax.GradientTransformation
    has_aux: bool
    history: int


class Limits(NamedTuple):
    """When a run ends, and the bounds it stays within."""

    gtol: Scalar
    ftol: Scalar
    max_steps: Int[Array, ""] | int
    bounds: Bounds | None


class Run(NamedTuple):
    """A run under way: the point, the method's state, the evaluation there, and what tells whether it goes on."""

    x: PyTree
    opt: PyTree
    value: Float[Array, ""]
    grad: PyTree
    status: Int[Array, ""]
    steps: Int[Array, ""]
    lowest: Float[Array, ""]
    since: Int[Array, ""]
    history: Float[Array, " steps"]


class Parts(NamedTuple):
    """The run from a point, a step of it, and its result."""

    start: Callable[[PyTree], Run]
    step: Callable[[Run], Run]
    result: Callable[[Run], Result]


def prepare(
    where: str,
    fun: Callable[..., Any],
    x0: PyTree,
    args: tuple[Any, ...],
    *,
    method: str | optax.GradientTransformation,
    options: Mapping[str, Any] | None,
    bounds: Any,
    gtol: Scalar,
    ftol: Scalar,
    max_steps: int,
    has_aux: bool,
    history: bool,
) -> tuple[Program, Limits]:
    """The arguments of `minimise`, checked, as what is compiled and what may change without.

    `x0` may consist of shapes and types alone.
    """
    require_nonnegative(where, gtol=gtol, ftol=ftol)
    require(max_steps >= 0, where, "a number of steps of at least 0", max_steps=max_steps)
    leaves = jax.tree.leaves(x0)
    if not all(_floating(leaf.dtype) for leaf in leaves):
        named = zip(tree.names(x0), leaves, strict=True)
        wrong = {name or "x0": leaf for name, leaf in named if not _floating(leaf.dtype)}
        require(False, where, "parameters in floating point", **wrong)
    if bounds is not None:
        require(method == "lbfgs", where, 'method="lbfgs" with bounds', method=method)
        bounds = bounds_like(where, bounds, x0)
    chosen = Entry(method, tuple(sorted((options or {}).items()))) if isinstance(method, str) else method
    if isinstance(chosen, Entry):
        # An unknown name or option is told here, not from inside the program.
        _buildable(chosen) if bounds is None else chosen.build(bounds)
    return Program(fun, chosen, has_aux, max_steps + 1 if history else 0), Limits(gtol, ftol, max_steps, bounds)


def worthwhile_pairs(fun: Callable[[PyTree], Array], x0: PyTree) -> int:
    """How many pairs L-BFGS keeps for `fun`: as many as stay cheap beside a gradient, 10 at least and 100 at most.

    More pairs save evaluations: 91, 66 and 55 with 10, 40 and 80 of them on softmax regression of the digits. A pair
    takes 24 operations a parameter and step. These wait for memory, and run at a tenth to a fifth of a matrix product's
    speed; so all of them may take a seventh of the gradient's. At most 2^25 numbers are kept, beyond the first ten.

    Of n parameters no more than n + 1: further differences depend on these. XLA compiles a loop that carries less than
    1 kB as one function; so a run with two to five parameters takes a third of the time that it takes with ten pairs.

    Source: Nocedal & Wright 2006, section 7.2, on the choice of m.
    """
    size = max(tree.size(x0), 1)
    affordable = operations(jax.value_and_grad(fun), x0) // (7 * 24 * size)
    return int(min(max(min(affordable, 2**24 // size), 10), 100, size + 1))


def parts(program: Program, x0: PyTree, args: tuple[Any, ...], limits: Limits) -> Parts:
    """The three parts of a run from points like `x0`, to be traced."""
    fun, method, has_aux, length = program
    gtol, ftol, max_steps, bounds = limits

    def value_fn(x: PyTree) -> Array:
        value = fun(x, *args)
        if has_aux:
            pair = isinstance(value, tuple) and len(value) == 2
            require(pair, "minimise", "a pair (value, aux) from fun with has_aux", returned=value)
            value = value[0]
        require_scalar("minimise", value, of_a_pair="has_aux=True")
        return value

    built = method.build(bounds, value_fn, x0) if isinstance(method, Entry) else method
    tx = optax.with_extra_args_support(built)

    def grad_norm(x: PyTree, grad: PyTree) -> Array:
        return _largest(grad if bounds is None else projected_gradient(x, grad, bounds))

    def ended(x: PyTree, value: Array, grad: PyTree) -> Array:
        """CONVERGED, NOT_FINITE or RUNNING, by what is known of one point."""
        norm = grad_norm(x, grad)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        return jnp.where(finite, jnp.where(norm <= gtol, Status.CONVERGED, Status.RUNNING), Status.NOT_FINITE)

    def start(x0: PyTree) -> Run:
        x0 = x0 if bounds is None else clip(x0, bounds)
        value, grad = jax.value_and_grad(value_fn)(x0)
        status = ended(x0, value, grad)
        status = jnp.where((status == Status.RUNNING) & (max_steps == 0), Status.STEPS, status).astype(jnp.int32)
        values = jnp.where(jnp.arange(length) == 0, value, jnp.nan)
        zero = jnp.zeros((), jnp.int32)
        return Run(x0, tx.init(x0), value, grad, status, zero, value, zero, values)

    def step(run: Run) -> Run:
        evaluated = {"value": run.value, "grad": run.grad, "value_fn": value_fn}
        updates, opt = tx.update(run.grad, run.opt, run.x, **evaluated)
        x = optax.apply_updates(run.x, updates) if bounds is None else land(run.x, updates, bounds)
        value, grad = reuse.value_and_grad(value_fn, x, opt)
        value = value.astype(run.value.dtype)
        least = ftol * jnp.maximum(jnp.maximum(jnp.abs(value), jnp.abs(run.value)), 1)
        flat = (ftol > 0) & (run.value - value <= least)
        status = ended(x, value, grad)
        going = status == Status.RUNNING
        status = jnp.where(going & (run.steps + 1 >= max_steps), Status.STEPS, status)
        status = jnp.where(going & flat, Status.FLAT, status)
        since = jnp.where(value < run.lowest, 0, run.since + 1)
        stalled = jnp.asarray(getattr(opt, "stalled", False)) | (since >= PATIENCE)
        status = jnp.where(going & stalled, Status.STALLED, status)
        values = run.history
        if length:
            values = jax.lax.dynamic_update_index_in_dim(values, value.astype(values.dtype), run.steps + 1, 0)
        lowest = jnp.fmin(run.lowest, value)
        x, value, grad = tree.where(status == Status.NOT_FINITE, (run.x, run.value, run.grad), (x, value, grad))
        return Run(x, opt, value, grad, status.astype(jnp.int32), run.steps + 1, lowest, since, values)

    def result(run: Run) -> Result:
        return Result(
            x=run.x,
            value=run.value,
            grad_norm=grad_norm(run.x, run.grad),
            converged=run.status == Status.CONVERGED,
            status=run.status,
            steps=run.steps,
            counts=getattr(run.opt, "counts", None) or counts.none().plus(gradient=run.steps),
            history=run.history if length else None,
            aux=fun(run.x, *args)[1] if has_aux else None,
        )

    return Parts(start, step, result)


def _largest(grad: PyTree) -> Array:
    """The largest absolute entry; NaN where there is one."""
    norms = [jnp.abs(leaf).max(initial=0) for leaf in jax.tree.leaves(grad)]
    return jnp.stack([norm.astype(jnp.result_type(*norms)) for norm in norms]).max() if norms else jnp.asarray(math.nan)
