"""Own primitives: one definition in plain JAX, and a compiled kernel where one device of a CPU runs the program.

A primitive is given by `pure`, a function of arrays, from which everything follows that is not said otherwise: the
types of its results (so that Auto and Explicit meshes and `shard_map` work), its form on every other device, its
derivative, its form in `jax.export`. `native` names the compiled kernel for given operands, or None where the plain
form is at least as good.

A `vmap` becomes a leading axis of lanes on the operands it maps (`laned`), which the compiled kernel walks through by
itself: a sweep of models costs what its models cost one after the other, never more.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jax231.kernels import native as compiled


class Call(NamedTuple):
    """A compiled kernel: its name, its static numbers, and the bytes of memory it works in."""

    kernel: str
    attributes: dict[str, Any]
    workspace: int = 0


Pure = Callable[..., Any]
"""Arrays and static parameters to an array, or to a tuple of them."""

Native = Callable[..., Call | None]
"""The types of the operands, `laned` and the static parameters, to the kernel that serves them."""


def primitive(
    name: str, pure: Pure, native: Native, *, results: int = 1, stock: Pure | None = None, mapped: Pure | None = None
) -> Primitive:
    """A primitive that computes `pure`, on a CPU by `native`; bind it by `apply`.

    `results` above 1 says that `pure` returns a tuple of so many. `stock`, where given, is the operation as JAX has it:
    the types of the results, accelerators and programs that XLA partitions over devices take that one. `mapped`, where
    given, is `pure` with lanes: it takes `laned` beside the parameters; otherwise lanes are a `vmap`.
    """
    prim = Primitive(f"jax231_{name}")
    prim.multiple_results = results > 1

    def plain(*operands: Any, laned: tuple[bool, ...], **params: Any) -> Any:
        if mapped is not None and any(laned):
            return mapped(*operands, laned=laned, **params)
        return over_lanes(pure, *operands, laned=laned, **params)

    def standard(*operands: Any, laned: tuple[bool, ...], **params: Any) -> Any:
        if stock is not None:
            return over_lanes(stock, *operands, laned=laned, **params)
        return plain(*operands, laned=laned, **params)

    @functools.cache
    def alone(params: tuple[tuple[str, Any], ...]) -> Callable:
        return jax.jit(functools.partial(prim.bind, **dict(params)))

    @prim.def_impl
    def _impl(*operands: Any, **params: Any) -> Any:
        with jax.disable_jit(False):  # an operation is compiled, whatever is said of programs
            return alone(tuple(sorted(params.items())))(*operands)

    @prim.def_abstract_eval
    def _types(*operands: Any, **params: Any) -> Any:
        out = jax.make_jaxpr(functools.partial(standard, **params))(*operands).out_avals
        return out if prim.multiple_results else out[0]

    def lower_by(form: Pure, ctx: mlir.LoweringRuleContext, *operands: Any, **params: Any) -> Any:
        lower = mlir.lower_fun(functools.partial(form, **params), multiple_results=prim.multiple_results)
        return lower(ctx, *operands)

    def lower_on_cpu(ctx: mlir.LoweringRuleContext, *operands: Any, **params: Any) -> Any:
        module = ctx.module_context
        if not _is_one_device(module):
            return lower_by(standard, ctx, *operands, **params)
        exported = module.lowering_parameters.for_export
        call = native(*ctx.avals_in, **params) if not exported and compiled.active() else None
        if call is None:
            return lower_by(plain, ctx, *operands, **params)
        kept = len(ctx.avals_out)
        if call.workspace:
            scratch = jax.core.ShapedArray((call.workspace,), np.dtype(np.uint8))
            ctx = ctx.replace(avals_out=[*ctx.avals_out, scratch])
        return jax.ffi.ffi_lowering(compiled.target(call.kernel))(ctx, *operands, **call.attributes)[:kept]

    mlir.register_lowering(prim, functools.partial(lower_by, standard))
    mlir.register_lowering(prim, lower_on_cpu, platform="cpu")
    ad.primitive_jvps[prim] = functools.partial(_jvp_of, prim, plain)
    batching.primitive_batchers[prim] = functools.partial(batch_by_lanes, prim)
    return prim


def apply(prim: Primitive, *operands: Any, laned: Sequence[bool] | None = None, **params: Any) -> Any:
    """Bind the primitive; inside `shard_map` every operand first varies over the axes over which one of them does."""
    alike = (varying_like(x, *operands) for x in operands)
    return prim.bind(*alike, laned=tuple(laned or (False,) * len(operands)), **params)


def over_lanes(form: Pure, *operands: Any, laned: Sequence[bool], **params: Any) -> Any:
    """`form`, mapped over the leading axis of the operands that have lanes."""
    form = functools.partial(form, **params)
    return jax.vmap(form, [0 if lane else None for lane in laned])(*operands) if any(laned) else form(*operands)


def batch_by_lanes(prim: Primitive, operands: Sequence[Any], dims: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    """A mapped axis is a lane axis in front; one that is there already takes it in (outer times inner lanes)."""
    laned = params.pop("laned")
    fronted = [x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(operands, dims, strict=True)]
    if not any(laned):
        out = apply(prim, *fronted, laned=[d is not None for d in dims], **params)
        return out, (0,) * len(out) if prim.multiple_results else 0

    rows = list(zip(fronted, dims, laned, strict=True))
    size = next(x.shape[0] for x, d, _ in rows if d is not None)
    inner = next(x.shape[0 if d is None else 1] for x, d, lane in rows if lane)
    merged = []
    for x, d, lane in rows:
        if d is not None or lane:
            x = x if d is not None else jnp.broadcast_to(x, (size, *x.shape))
            x = x if lane else jnp.broadcast_to(x[:, None], (size, inner, *x.shape[1:]))
            x = x.reshape(size * inner, *x.shape[2:])
        merged.append(x)
    lanes = [d is not None or lane for _, d, lane in rows]
    out = apply(prim, *merged, laned=lanes, **params)
    if prim.multiple_results:
        return [y.reshape(size, inner, *y.shape[1:]) for y in out], (0,) * len(out)
    return out.reshape(size, inner, *out.shape[1:]), 0


def _jvp_of(prim: Primitive, plain: Pure, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
    """The primal by the primitive, the tangent through the plain form."""
    moving = [not isinstance(t, ad.Zero) for t in tangents]

    def of_moving(*values: Any) -> Any:
        rest = iter(values)
        return plain(*(next(rest) if m else x for x, m in zip(primals, moving, strict=True)), **params)

    _, tangent = jax.jvp(
        of_moving,
        [x for x, m in zip(primals, moving, strict=True) if m],
        [t for t, m in zip(tangents, moving, strict=True) if m],
    )
    return prim.bind(*primals, **params), tangent


def varying_like(x: Any, *others: Any) -> Any:
    """x, inside `shard_map` varying over every axis of the mesh over which one of the others does."""
    axes = frozenset().union(*(jax.typeof(other).mat.varying for other in others))
    missing = tuple(axes - jax.typeof(x).mat.varying)
    return lax.pcast(x, missing, to="varying") if missing else x


def _is_one_device(module: mlir.ModuleContext) -> bool:
    """Whether the program runs as written on one device each, not partitioned by XLA."""
    context = module.axis_context
    if isinstance(context, mlir.SPMDAxisContext):
        return context.manual_axes == frozenset(context.mesh.axis_names)
    return getattr(context, "num_devices", None) == 1
