"""The recurrences: compiled form = plain form = NumPy loop, in every derivative, for shapes that no block fits."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy.special import expit

from jax231.functional.recurrent import lstm, rnn, stacked_lstm
from jax231.kernels import native
from jax231.kernels.recurrence import _factors, _run, _spread, recurrence
from tests.derivatives import relative_error

plain = partial(_run, save=False)
SIZES = [(1, 1, 1), (3, 4, 5), (7, 2, 17), (33, 2, 8), (2, 3, 40)]
GATES = {"rnn": 1, "lstm": 4}


def operands(kind, n, t, h, masked=False, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    g = GATES[kind] * h
    alive = rng.random((n, t)) < 0.7 if masked else np.zeros((n, 0), bool)
    shapes = (n, t, g), (h, g), (n, h), (n, h if kind == "lstm" else 0)
    floats = [jnp.asarray(rng.standard_normal(shape) / (1 + i), dtype) for i, shape in enumerate(shapes)]
    return *floats, jnp.asarray(alive)


def by_loop(products, wh, h0, c0, alive):
    """The definition, sequence by sequence and step by step."""
    n, t, _ = products.shape
    hs, cells = np.empty((n, t, h0.shape[1])), np.empty(c0.shape)
    for row in range(n):
        h, c = np.array(h0[row], np.float64), np.array(c0[row], np.float64)
        for step in range(t):
            if not alive.shape[1] or alive[row, step]:
                z = products[row, step] + h @ np.asarray(wh, np.float64)
                if c.size:
                    i, f, o, g = np.split(z, 4)
                    c = expit(f) * c + expit(i) * np.tanh(g)
                    h = expit(o) * np.tanh(c)
                else:
                    h = np.tanh(z)
            hs[row, step] = h
        cells[row] = c
    return hs, cells


def loss(form, alive, *floats):
    """A number that depends on every output, and not linearly."""
    hs, c = form(*floats, alive)
    weights = jnp.cos(jnp.arange(hs.size, dtype=hs.dtype)).reshape(hs.shape)
    return jnp.sum(jnp.sin(hs) * weights) + jnp.sum(jnp.square(c) * 0.3)


def gradient(form, alive):
    return jax.grad(partial(loss, form, alive), argnums=(0, 1, 2, 3))


def assert_close(actual, expected, tolerance):
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        if e.size:
            assert float(jnp.linalg.norm(a - e)) <= tolerance * max(float(jnp.linalg.norm(e)), 1e-30)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_compiled_form_is_the_loop(kind, dtype):
    with jax.enable_x64(dtype == "float64"):
        for number, size in enumerate([*SIZES, (2, 2, 270)]):
            args = operands(kind, *size, masked=number % 2 == 1, dtype=dtype)
            for actual, expected in zip(jax.jit(recurrence)(*args), by_loop(*map(np.asarray, args)), strict=True):
                if expected.size:
                    assert relative_error(actual, expected) <= (1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", GATES)
def test_derivatives_are_those_of_the_plain_scan(kind, masked):
    """Gradient, jvp, forward over reverse, reverse over reverse, forward over forward."""

    def all_of(form, floats, directions, alive):
        slope = gradient(form, alive)
        value = partial(loss, form, alive)
        along = lambda *p: jax.jvp(value, p, directions)[1]  # noqa: E731
        inner = lambda *p: sum(jnp.vdot(a, b) for a, b in zip(slope(*p), directions, strict=True))  # noqa: E731
        return (
            slope(*floats),
            jax.jvp(lambda *p: form(*p, alive), floats, directions)[1],
            jax.jvp(slope, floats, directions)[1],
            jax.grad(inner, argnums=(0, 1, 2, 3))(*floats),
            jax.jvp(along, floats, directions)[1],
        )

    *floats, alive = operands(kind, 3, 3, 17, masked=masked)
    directions = tuple(jnp.cos(3 * x) for x in floats)
    actual, expected = (
        jax.jit(partial(all_of, form))(tuple(floats), directions, alive) for form in (recurrence, plain)
    )
    assert_close(actual, expected, 1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", GATES)
def test_third_derivatives_and_jacobians(kind):
    *floats, alive = operands(kind, 2, 3, 3, masked=True)
    wh = floats[1]

    def of_weights(form, wh):
        return form(floats[0], wh, *floats[2:], alive)[0]

    def third(form, wh):
        value = lambda w: jnp.sum(jnp.sin(of_weights(form, w)))  # noqa: E731
        hvp = lambda w: jax.jvp(jax.grad(value), (w,), (wh,))[1]  # noqa: E731
        return jax.jvp(hvp, (wh,), (wh,))[1], jax.grad(lambda w: jnp.vdot(hvp(w), wh))(wh)

    assert_close(*(jax.jit(partial(third, form))(wh) for form in (recurrence, plain)), 1e-11)
    reverse, forward = (jax.jit(way(partial(of_weights, recurrence)))(wh) for way in (jax.jacrev, jax.jacfwd))
    assert_close(reverse, forward, 1e-12)


@pytest.mark.usefixtures("x64")
def test_the_recurrence_of_changes_is_its_equation():
    """X = S + Q(K, wh; X) where every step counts."""
    from jax231.kernels.primitive import apply
    from jax231.kernels.recurrence import PULL, PUSH

    for kind in GATES:
        products, wh, h0, c0, alive = operands(kind, 5, 4, 6)
        shape = (5, 4, products.shape[-1] + c0.shape[-1] + 6)
        before, after = products[..., : c0.shape[-1]], products[..., : c0.shape[-1]] / 2
        k = _factors(products, before, after)
        s, y = (jnp.asarray(np.random.default_rng(i).standard_normal(shape)) for i in range(2))
        x, _ = apply(PUSH, k, wh, alive, s, h0, c0, full=True)
        assert_close(x, s + _spread(k, wh, x, h0, c0), 1e-13)
        end = jnp.ones_like(c0)
        back, dh0, dc0 = apply(PULL, k, wh, alive, y, end, full=True)
        last = x[:, -1, products.shape[-1] : products.shape[-1] + c0.shape[-1]]
        left = jnp.vdot(y, x) + jnp.vdot(end, last)
        assert float(abs(left - (jnp.vdot(back, s) + jnp.vdot(dh0, h0) + jnp.vdot(dc0, c0)))) <= 1e-11


def slopes(*args):
    """Gradient and Hessian-vector product of the loss."""
    *floats, alive = args
    slope = gradient(recurrence, alive)
    return slope(*floats), jax.jvp(slope, tuple(floats), tuple(jnp.cos(x) for x in floats))[1]


jitted_slopes = jax.jit(slopes)  # one program for every case below


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("kind", "lanes"), [("lstm", "inputs"), ("lstm", "weights"), ("lstm", "both"), ("lstm", "mask"), ("rnn", "both")]
)
def test_lanes_are_a_loop(kind, lanes):
    axes = {"inputs": (0, None, None, None, None), "weights": (None, 0, None, None, None), "both": (0, 0, 0, 0, None)}
    axes |= {"start": (None, None, 0, None, None), "mask": (None, None, None, None, 0)}
    own = axes[lanes]
    sets = [operands(kind, 3, 3, 5, masked=True, seed=seed) for seed in range(3)]
    args = [jnp.stack(x) if a == 0 else x[0] for x, a in zip(zip(*sets, strict=True), own, strict=True)]

    def total(*floats):
        return jax.vmap(partial(loss, recurrence), (own[4], *own[:4]))(args[4], *floats).sum()

    each = [jitted_slopes(*(x[i] if a == 0 else x for x, a in zip(args, own, strict=True))) for i in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *each)
    assert_close(jax.jit(jax.vmap(slopes, own))(*args), stacked, 1e-12)
    summed = [x if a == 0 else x.sum(0) for x, a in zip(stacked[0], own[:4], strict=True)]
    whole = jax.jit(lambda p, v: jax.jvp(jax.grad(total, argnums=(0, 1, 2, 3)), p, v))
    outside, hvp = whole(tuple(args[:4]), tuple(jnp.cos(x) for x in args[:4]))
    assert_close(list(outside), summed, 1e-12)
    assert_close(list(hvp), [x if a == 0 else x.sum(0) for x, a in zip(stacked[1], own[:4], strict=True)], 1e-12)


def layer(gates, d, h, dtype=np.float32):
    rng = np.random.default_rng(d)
    shapes = {"wx": (d, gates * h), "wh": (h, gates * h), "b": (gates * h,)}
    return {name: jnp.asarray(0.5 * rng.standard_normal(shape), dtype) for name, shape in shapes.items()}


def test_scan_checkpoint_and_eager_calls_are_the_same():
    params, xs = layer(4, 3, 5), jnp.asarray(np.random.default_rng(0).standard_normal((4, 6, 3)), jnp.float32)
    carry = (jnp.zeros((4, 5)),) * 2

    def value(params, run=lstm):
        (h, c), ys = run(params, carry, xs)
        return jnp.sum(ys**2) + jnp.sum(h * c)

    @jax.jit
    def compiled(params):
        slope = jax.grad(value)
        kept = jax.grad(partial(value, run=jax.checkpoint(lstm)))(params)
        _, looped = lax.scan(lambda _, s: (None, slope(params)), None, length=2)
        _, linear = jax.linearize(slope, params)
        return kept, jax.tree.map(lambda x: x[1], looped), linear(params), jax.jvp(slope, (params,), (params,))[1]

    eager = jax.grad(value)(params)
    kept, looped, linear, along = compiled(params)
    chex.assert_trees_all_close(eager, kept, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(eager, looped, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(linear, along, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("run", "gates"), [(rnn, 1), (lstm, 4)])
@pytest.mark.parametrize("every", [1, 3])
def test_segments_are_the_whole(run, gates, every):
    params, xs = layer(gates, 3, 5), jnp.asarray(np.random.default_rng(0).standard_normal((4, 7, 3)), jnp.float32)
    carry = jnp.ones((4, 5)) if gates == 1 else (jnp.ones((4, 5)),) * 2
    mask = np.arange(7) < np.array([7, 3, 0, 5])[:, None]

    def both(params, xs, every):
        run_it = lambda params, xs: run(params, carry, xs, mask=mask, checkpoint_every=every)  # noqa: E731
        out, back = jax.vjp(run_it, params, xs)
        return out, back(jax.tree.map(jnp.cos, out))

    both = jax.jit(both, static_argnums=2)
    (whole, slopes), (parts, again) = both(params, xs, None), both(params, xs, every)
    chex.assert_trees_all_close(parts, whole, rtol=1e-6, atol=1e-6)
    chex.assert_trees_all_close(again, slopes, rtol=1e-5, atol=1e-6)


def test_the_program_does_not_grow_with_the_sequence():
    params, carry = layer(4, 3, 5), (jnp.zeros((4, 5)),) * 2

    def size(t, **options):
        slope = jax.jit(jax.grad(lambda p, xs: jnp.sum(stacked_lstm([p], [carry], xs, **options)[1])))
        return len(slope.lower(params, jnp.zeros((4, t, 3))).as_text().splitlines())

    assert size(1024) == size(16)
    # as many segments as steps in one would share a function, and so take less
    assert size(2048, checkpoint_every=32) == size(128, checkpoint_every=32)


def test_segments_keep_memory_in_hand():
    params, carry = layer(4, 8, 32), (jnp.zeros((4, 32)),) * 2

    def temporary(every):
        value = lambda p, xs: jnp.sum(lstm(p, carry, xs, checkpoint_every=every)[1] ** 2)  # noqa: E731
        compiled = jax.jit(jax.grad(value)).lower(params, jnp.zeros((4, 1024, 8))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(32) < temporary(None) / 3


def test_the_same_bits_every_time():
    args = operands("lstm", 70, 5, 48, dtype=np.float32)
    run = jax.jit(lambda *floats: (recurrence(*floats, args[4]), gradient(recurrence, args[4])(*floats)))
    first = run(*args[:4])
    for _ in range(3):
        chex.assert_trees_all_equal(run(*args[:4]), first)


def test_nan_and_infinity_go_their_way():
    products, wh, h0, c0, alive = operands("lstm", 3, 2, 5, dtype=np.float32)
    products = products.at[0, 0, 2].set(jnp.nan).at[1, 0].set(jnp.inf).at[2, 0].set(-1e30)
    hs, c = jax.jit(recurrence)(products, wh, h0, c0, alive)
    expected, cells = by_loop(*map(np.asarray, (products, wh, h0, c0, alive)))
    np.testing.assert_allclose(hs, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(c, cells, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gates_close_smoothly(dtype, x64):
    """Where exp overflows, and around it."""
    z = np.concatenate([np.linspace(low, low + 2, 101) for low in (-89.5, 87.5, -710.5, 708.5)]).astype(dtype)
    gates = np.concatenate([np.zeros_like(z), z, np.zeros_like(z), np.zeros_like(z)])[None, None]
    _, c = jax.jit(recurrence)(
        jnp.asarray(gates), jnp.zeros((len(z), 4 * len(z)), dtype), jnp.zeros((1, len(z)), dtype),
        jnp.ones((1, len(z)), dtype), jnp.zeros((1, 0), bool),
    )  # fmt: skip
    np.testing.assert_allclose(c[0], expit(z.astype(np.float64)), rtol=1e-5, atol=np.finfo(dtype).tiny)


def test_nothing_to_do():
    params = layer(4, 3, 5)
    for n, t in ((0, 4), (4, 0), (0, 0)):
        carry = (jnp.ones((n, 5)),) * 2
        slopes = jax.grad(lambda p, n=n, t=t, carry=carry: lstm(p, carry, jnp.ones((n, t, 3)))[1].sum())(params)
        chex.assert_trees_all_equal(slopes, jax.tree.map(jnp.zeros_like, params))


def test_the_kernels_are_used_where_they_are():
    args = operands("lstm", 2, 3, 4, dtype=np.float32)
    text = jax.jit(gradient(recurrence, args[4])).lower(*args[:4]).as_text()
    assert ("recurrence_save_f32" in text) == ("recurrence_pull_f32" in text) == native.active()
