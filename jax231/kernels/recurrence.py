"""Recurrences over whole sequences: ``rnn`` and ``lstm`` from their input products, in three primitives.

With states h and c (of width 0 for the vanilla network), the derivative of a run is a linear recurrence over all steps,
X = S + Q(K, wh; X): X holds the changes of pre-activations, cells and hidden states ``(dz | dc | dh)``, S a source for
each of them, K the factors of the elementwise part, from `_factors`; Q is `_spread`. `RUN` gives the states and, where
a derivative is wanted, K; `PUSH` solves the recurrence forward in time, for a tangent; `PULL` its transpose, backward
in time, for a cotangent. As Q is linear in K, in wh and in X, the change of a solution under changes of K and wh is the
solution for the sources ``Q(dK, dwh; X)``: derivatives of every order are runs of the same three kernels. The gradient
of the weights stays outside: a change of wh is the source ``h_before dwh``, one matrix product over time, and in
reverse so is its gradient.

A first derivative needs a part only, S = dz and X = dh with the last dc: `full` asks for the whole.

Arrays are (n, t, ·); `alive` is a mask (n, t), or (n, 0) where every step counts; a step that does not keeps h and c.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.interpreters import ad

from jax231.kernels.primitive import Call, apply, over_lanes, primitive


def recurrence(products: Array, wh: Array, h0: Array, c0: Array, alive: Array) -> tuple[Array, Array]:
    """The hidden states after every step and the last cells: of the LSTM where `c0` has width, else vanilla.

    Shapes:    products (n, t, g), wh (h, g), h0 (n, h), c0 (n, h) or (n, 0), alive (n, t) or (n, 0), no axis but
               these of size 0, all but alive of one type, float32 or float64 -> hs (n, t, h), c_end as c0; g is 4 h,
               the gates i, f, o, g, or h.
    """
    hs, c_end = apply(RUN, products, wh, h0, c0, alive, save=False)
    return hs, c_end


def over_time(x: Array, w: Array) -> Array:
    """``x w`` for x (n, t, ·) as one product of matrices, of which XLA's CPU gradient by w needs no transposed copy."""
    n, t, _ = x.shape
    return (x.reshape(n * t, -1) @ w).reshape(n, t, -1)


def _cell(z: Array, c: Array) -> tuple[Array, Array]:
    if not c.shape[-1]:
        return jnp.tanh(z), c
    i, f, o, g = jnp.split(z, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _factors(z: Array, before: Array, after: Array) -> Array:
    """K of the pre-activations and the cells before and after: ``k = 1 - h^2``, or ``ai | af | ao | ag | k | f``."""
    if not before.shape[-1]:
        return 1 - jnp.square(jnp.tanh(z))
    i, f, o, g = jnp.split(z, 4, axis=-1)
    i, f, o, g, flat = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o), jnp.tanh(g), jnp.tanh(after)
    slopes = (g * i * (1 - i), before * f * (1 - f), flat * o * (1 - o), i * (1 - g * g), o * (1 - flat * flat), f)
    return jnp.concatenate(slopes, axis=-1)


def _run(products: Array, wh: Array, h0: Array, c0: Array, alive: Array, *, save: bool) -> tuple[Array, ...]:
    def step(carry: tuple[Array, Array], lives: Array | None, product: Array) -> tuple[Any, Any]:
        h, c = carry
        z = product + h @ wh
        h_new, c_new = (_if(lives, new, old) for new, old in zip(_cell(z, c), carry, strict=True))
        return (h_new, c_new), (h_new, *((c_new, _if(lives, _factors(z, c, c_new), 0.0)) if save else ()))

    (_, c_end), (hs, *kept) = _over_steps(step, (h0, c0), alive, products)
    return hs, c_end, *kept


def _push(
    factors: Array, wh: Array, alive: Array, sources: Array, h0: Array, c0: Array, *, full: bool
) -> tuple[Array, Array]:
    """X, or its dh, of S, or its dz, and of the changes of h and c at the start; and the last dc."""

    def step(carry: tuple[Array, Array], lives: Array | None, factors: Array, source: Array) -> tuple[Any, Any]:
        dh, dc = carry
        dz, from_c, from_h = _parts(source, wh, dc) if full else (source, 0, 0)
        dz = dz + dh @ wh
        if dc.shape[-1]:
            (ai, af, ao, ag, k, f), (i, u, o, g) = jnp.split(factors, 6, axis=-1), jnp.split(dz, 4, axis=-1)
            dc = _if(lives, f * dc + ai * i + af * u + ag * g, dc) + from_c
            new = k * dc + ao * o
        else:
            new = factors * dz
        dh = _if(lives, new, dh) + from_h
        return (dh, dc), jnp.concatenate([dz, dc, dh], axis=-1) if full else dh

    (_, c_end), results = _over_steps(step, (h0, c0), alive, factors, sources)
    return results, c_end


def _pull(
    factors: Array, wh: Array, alive: Array, results: Array, c_end: Array, *, full: bool
) -> tuple[Array, Array, Array]:
    """The transpose of `_push`: cotangents of its results to those of S, or its dz, and of the start."""

    def step(carry: tuple[Array, Array], lives: Array | None, factors: Array, result: Array) -> tuple[Any, Any]:
        dh, dc = carry
        to_z, to_c, to_h = _parts(result, wh, dc) if full else (0, 0, result)
        dh, dc = dh + to_h, dc + to_c
        if dc.shape[-1]:
            ai, af, ao, ag, k, f = jnp.split(factors, 6, axis=-1)
            dc = dc + _if(lives, k * dh, 0.0)
            dz, before = jnp.concatenate([ai * dc, af * dc, ao * dh, ag * dc], axis=-1), _if(lives, f * dc, dc)
        else:
            dz, before = factors * dh, dc
        dz = _if(lives, dz, 0.0) + to_z
        through = dz @ wh.T
        through = through if lives is None else through + jnp.where(lives, 0, dh)
        return (through, before), jnp.concatenate([dz, dc, dh], axis=-1) if full else dz

    nothing = jnp.zeros_like(results[:, 0, results.shape[-1] - wh.shape[0] :])
    (h0, c0), sources = _over_steps(step, (nothing, c_end), alive, factors, results, reverse=True)
    return sources, h0, c0


def _spread(factors: Array, wh: Array, x: Array, h0: Array, c0: Array) -> Array:
    """Q: what all steps' changes X, after those of the start, give to the equations of the changes."""
    dz, dc, dh = _parts(x, wh, c0)
    from_h = over_time(_before(h0, dh), wh)
    if not c0.shape[-1]:
        return jnp.concatenate([from_h, factors * dz], axis=-1)
    (ai, af, ao, ag, k, f), (i, u, o, g) = jnp.split(factors, 6, axis=-1), jnp.split(dz, 4, axis=-1)
    return jnp.concatenate([from_h, f * _before(c0, dc) + ai * i + af * u + ag * g, k * dc + ao * o], axis=-1)


def _over_steps(step: Any, carry: Any, alive: Array, *xs: Array, reverse: bool = False) -> tuple[Any, Any]:
    """Scan `step(carry, lives, x...)` over the second axis; `lives` is None where every step counts."""
    lives = jnp.swapaxes(alive, 0, 1)[..., None] if alive.shape[1] else None
    times = (lives, *(jnp.swapaxes(x, 0, 1) for x in xs))
    end, ys = lax.scan(lambda carry, now: step(carry, *now), carry, times, reverse=reverse)
    return end, jax.tree.map(lambda y: jnp.swapaxes(y, 0, 1), ys)


def _if(lives: Array | None, new: Array, old: Array | float) -> Array:
    return new if lives is None else jnp.where(lives, new, old)


def _before(start: Array, xs: Array) -> Array:
    """The states before each step, of those after it."""
    return jnp.concatenate([start[:, None], xs[:, :-1]], axis=1)


def _parts(x: Array, wh: Array, c: Array) -> list[Array]:
    """The blocks ``dz | dc | dh``."""
    return jnp.split(x, [wh.shape[-1], wh.shape[-1] + c.shape[-1]], axis=-1)


def _widen(x: Array, front: int, back: int) -> Array:
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(front, back)])


def _call(form: str, laned: tuple[bool, ...], wh: Any, like: Any, operands: tuple, **more: Any) -> Call | None:
    """The kernel `form` for operands in order, among them the weights and one with rows and steps."""
    kind = {"float32": "f32", "float64": "f64"}[wh.dtype.name]
    lanes = next((x.shape[0] for x, lane in zip(operands, laned, strict=True) if lane), 1)
    (n, t), (h, g) = like.shape[-3:-1], wh.shape[-2:]
    if 0 in (t, h):
        return None
    groups, rows = (lanes, n) if laned[1] else (1, lanes * n)
    tasks = groups * -(-rows // _ROWS)
    scratch = tasks * _ROWS * (2 * h + g + 4 * _PANEL)
    workspace = (groups * -(-h // _PANEL) * _PANEL * g + scratch) * wh.dtype.itemsize + 64
    numbers = np.array([lanes, n, t, h, g // h], np.int64)
    attributes = {"numbers": numbers, "laned": np.array(laned, np.int64), **more}
    return Call(f"recurrence_{form}_{kind}", attributes, workspace)


def _native_run(*operands: Any, laned: tuple[bool, ...], save: bool) -> Call | None:
    return _call("save" if save else "run", laned, operands[1], operands[0], operands)


def _native_push(*operands: Any, laned: tuple[bool, ...], full: bool) -> Call | None:
    return _call("push", laned, operands[1], operands[0], operands, full=full)


def _native_pull(*operands: Any, laned: tuple[bool, ...], full: bool) -> Call | None:
    return _call("pull", laned, operands[1], operands[0], operands, full=full)


# The rows of a task at most, and the numbers in a panel at most, in recurrence.cc.
_ROWS, _PANEL = 32, 32

RUN = primitive("recurrence_run", _run, _native_run, results=2)
PUSH = primitive("recurrence_push", _push, _native_push, results=2)
PULL = primitive("recurrence_pull", _pull, _native_pull, results=3)


def _run_jvp(primals: Any, tangents: Any, *, laned: tuple[bool, ...], save: bool) -> Any:
    _, wh, h0, c0, alive = primals
    of_products, of_wh, of_h0, of_c0, of_alive = laned
    dproducts, dwh, dh0, dc0 = (ad.instantiate_zeros(t) for t in tangents[:4])
    everywhere = any(laned)
    out = apply(RUN, *primals, laned=laned, save=True)
    hs, _, cs, factors = out

    def source(dproducts: Array, dwh: Array, h0: Array, hs: Array) -> Array:
        return dproducts + over_time(_before(h0, hs), dwh)

    sources, of_sources = dproducts, of_products
    if not isinstance(tangents[1], ad.Zero):
        sources = over_lanes(source, dproducts, dwh, h0, hs, laned=(of_products, of_wh, of_h0, everywhere))
        of_sources = everywhere
    lanes = (everywhere, of_wh, of_alive, of_sources, of_h0, of_c0)
    if not save:
        return out[:2], apply(PUSH, factors, wh, alive, sources, dh0, dc0, laned=lanes, full=False)

    sources = _widen(sources, 0, c0.shape[-1] + h0.shape[-1])
    x, dc_end = apply(PUSH, factors, wh, alive, sources, dh0, dc0, laned=lanes, full=True)

    def changes(
        products: Array, wh: Array, h0: Array, c0: Array, alive: Array, hs: Array, cs: Array, x: Array, dc0: Array
    ) -> tuple[Array, Array, Array]:
        dz, dc, dh = _parts(x, wh, c0)
        z = products + over_time(_before(h0, hs), wh)
        _, dfactors = jax.jvp(_factors, (z, _before(c0, cs), cs), (dz, _before(dc0, dc), dc))
        lives = alive[..., None] if alive.shape[1] else None
        return dh, dc, _if(lives, dfactors, 0.0)

    dhs, dcs, dfactors = over_lanes(
        changes, *primals, hs, cs, x, dc0, laned=(*laned, everywhere, everywhere, everywhere, of_c0)
    )
    return out, (dhs, dc_end, dcs, dfactors)


def _push_jvp(primals: Any, tangents: Any, *, laned: tuple[bool, ...], full: bool) -> Any:
    factors, wh, alive, sources, h0, c0 = primals
    dfactors, dwh, _, dsources, dh0, dc0 = (ad.instantiate_zeros(t) for t in tangents)
    if isinstance(tangents[0], ad.Zero) and isinstance(tangents[1], ad.Zero):
        tangent = apply(PUSH, factors, wh, alive, dsources, dh0, dc0, laned=laned, full=full)
        return apply(PUSH, *primals, laned=laned, full=full), tangent
    h, everywhere = h0.shape[-1], any(laned)
    if not full:
        sources, dsources = (_widen(s, 0, c0.shape[-1] + h) for s in (sources, dsources))
    x, c_end = apply(PUSH, factors, wh, alive, sources, h0, c0, laned=laned, full=True)
    spread = over_lanes(_spread, dfactors, dwh, x, h0, c0, laned=(*laned[:2], everywhere, *laned[4:]))
    lanes = (*laned[:3], everywhere, *laned[4:])
    dx, dc_end = apply(PUSH, factors, wh, alive, spread + _lift(dsources, spread), dh0, dc0, laned=lanes, full=True)
    return ((x, c_end), (dx, dc_end)) if full else ((x[..., -h:], c_end), (dx[..., -h:], dc_end))


def _pull_jvp(primals: Any, tangents: Any, *, laned: tuple[bool, ...], full: bool) -> Any:
    factors, wh, alive, results, c_end = primals
    dfactors, dwh, _, dresults, dc_end = (ad.instantiate_zeros(t) for t in tangents)
    if isinstance(tangents[0], ad.Zero) and isinstance(tangents[1], ad.Zero):
        tangent = apply(PULL, factors, wh, alive, dresults, dc_end, laned=laned, full=full)
        return apply(PULL, *primals, laned=laned, full=full), tangent
    g, everywhere = wh.shape[-1], any(laned)
    if not full:
        results, dresults = (_widen(x, g + c_end.shape[-1], 0) for x in (results, dresults))
    sources, h0, c0 = apply(PULL, factors, wh, alive, results, c_end, laned=laned, full=True)

    def spread_back(dfactors: Array, dwh: Array, sources: Array, h0: Array, c0: Array) -> tuple[Array, ...]:
        return jax.linear_transpose(lambda *x: _spread(dfactors, dwh, *x), sources, h0, c0)(sources)

    spread, more_h, more_c = over_lanes(
        spread_back, dfactors, dwh, sources, h0, c0, laned=(*laned[:2], *[everywhere] * 3)
    )
    lanes = (*laned[:3], everywhere, laned[4])
    out = apply(PULL, factors, wh, alive, spread + _lift(dresults, spread), dc_end, laned=lanes, full=True)
    dsources, dh0, dc0 = out[0], out[1] + more_h, out[2] + more_c
    return (
        ((sources, h0, c0), (dsources, dh0, dc0))
        if full
        else ((sources[..., :g], h0, c0), (dsources[..., :g], dh0, dc0))
    )


def _lift(x: Array, like: Array) -> Array:
    """An operand without lanes beside one with."""
    return x if x.ndim == like.ndim else x[None]


def _push_transpose(
    cotangents: Any, factors: Any, wh: Any, alive: Any, *start: Any, laned: tuple[bool, ...], full: bool
) -> list[Any]:
    results, c_end = (ad.instantiate_zeros(t) for t in cotangents)
    lanes = (*laned[:3], any(laned), any(laned))
    out = apply(PULL, factors, wh, alive, results, c_end, laned=lanes, full=full)
    return [None, None, None, *_given_back(out, start, laned[3:], laned)]


def _pull_transpose(
    cotangents: Any, factors: Any, wh: Any, alive: Any, *end: Any, laned: tuple[bool, ...], full: bool
) -> list[Any]:
    sources, h0, c0 = (ad.instantiate_zeros(t) for t in cotangents)
    lanes = (*laned[:3], *[any(laned)] * 3)
    out = apply(PUSH, factors, wh, alive, sources, h0, c0, laned=lanes, full=full)
    return [None, None, None, *_given_back(out, end, laned[3:], laned)]


def _given_back(out: Any, operands: Any, own: tuple[bool, ...], laned: tuple[bool, ...]) -> list[Any]:
    """The cotangents of linear operands; one that all lanes share gets their sum."""
    summed = [x.sum(0) if any(laned) and not lane else x for x, lane in zip(out, own, strict=True)]
    return [x if ad.is_undefined_primal(operand) else None for x, operand in zip(summed, operands, strict=True)]


ad.primitive_jvps[RUN], ad.primitive_jvps[PUSH], ad.primitive_jvps[PULL] = _run_jvp, _push_jvp, _pull_jvp
ad.primitive_transposes[PUSH], ad.primitive_transposes[PULL] = _push_transpose, _pull_transpose
