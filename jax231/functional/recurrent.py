"""Recurrences, all of one shape: ``(params, carry, x) -> (carry, y)``.

A layer's params are ``{"wx": (d, g), "wh": (h, g), "b": (g,)}`` with g = h for the vanilla network and g = 4 h for the
LSTM, whose columns are the gates i, f, o, g in the order of the course. The initial carry is an argument like any
other: zeros, learned, or the end of the sequence before (truncated backpropagation).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import require, require_labels, require_rank
from jax231.core.precision import statistics_dtype
from jax231.kernels.recurrence import recurrence

Params = Mapping[str, ArrayLike]
"""The weights of one layer: wx, wh, b."""

LSTMCarry = tuple[ArrayLike, ArrayLike]
"""The hidden state and the cell, ``(h, c)``."""


def rnn_step(
    params: Params, h: Float[ArrayLike, "..."], x: Float[ArrayLike, "..."]
) -> tuple[Float[Array, "n h"], Float[Array, "n h"]]:
    """One step of the vanilla network, ``h' = tanh(x wx + h wh + b)``; return (h', h').

    Shapes:    h (n, h), x (n, d) -> twice (n, h), in the dtype of h; sums in float32 for bfloat16 and float16.
    Raises:    ValueError for parameters or states that do not fit.
    Source:    CS231n, lecture 10.
    """
    require_rank("rnn_step", 2, "n d", x=x)
    _require_layer("rnn_step", params, 1, x)
    _require_states("rnn_step", params, x, h=h)
    return _rnn_cell(params["wh"], jnp.asarray(h), _input_products(params, x))


def lstm_step(
    params: Params, carry: LSTMCarry, x: Float[ArrayLike, "..."]
) -> tuple[tuple[Float[Array, "n h"], Float[Array, "n h"]], Float[Array, "n h"]]:
    """One step of the LSTM from ``(h, c)``; return ((h', c'), h').

    ``i, f, o = sigmoid``, ``g = tanh`` of the four blocks of ``x wx + h wh + b``;
    ``c' = f * c + i * g`` and ``h' = o * tanh(c')``.

    Shapes:    h and c (n, h), x (n, d) -> ((n, h), (n, h)), (n, h), in the dtypes of h and c; a float32 cell may go
               with a bfloat16 h.
    Raises:    ValueError for parameters or states that do not fit.
    Source:    Hochreiter and Schmidhuber 1997; CS231n, lecture 10.
    """
    h, c = carry
    require_rank("lstm_step", 2, "n d", x=x)
    _require_layer("lstm_step", params, 4, x)
    _require_states("lstm_step", params, x, h=h, c=c)
    return _lstm_cell(params["wh"], (jnp.asarray(h), jnp.asarray(c)), _input_products(params, x))


def rnn(
    params: Params,
    h0: Float[ArrayLike, "..."],
    xs: Float[ArrayLike, "..."],
    *,
    mask: ArrayLike | None = None,
    checkpoint_every: int | None = None,
) -> tuple[Float[Array, "n h"], Float[Array, "n t h"]]:
    """Run `rnn_step` over time; return the last state and all outputs.

    Where the boolean `mask` is false the carry stays as it is and the output is zero: sequences of different length
    are padded at the end, and the returned state is that after each one's own last step.

    A gradient keeps of every step what its backward pass reads, 2 h numbers a sequence (7 h for `lstm`). With
    `checkpoint_every` it keeps inputs and outputs, the carry at every so many steps, and the rest for one such segment
    only, which the backward pass runs forward once more: for sequences of thousands of steps, the square root of their
    number is a good choice.

    Shapes:    h0 (n, h), xs (n, t, d), mask (n, t) -> (n, h), (n, t, h).
    Cost:      one matrix product for the input products of all steps, and one each for the gradients of wx and wh.
    Raises:    ValueError for parameters, states or a mask that do not fit.
    """
    xs, alive = _require_sequence("rnn", params, 1, xs, mask, checkpoint_every)
    _require_states("rnn", params, xs, h0=h0)
    h0 = jnp.asarray(h0)
    h, _, ys = _run(params, h0, h0[:, :0], xs, alive, checkpoint_every)
    return h, ys


def lstm(
    params: Params,
    carry: LSTMCarry,
    xs: Float[ArrayLike, "..."],
    *,
    mask: ArrayLike | None = None,
    checkpoint_every: int | None = None,
) -> tuple[tuple[Float[Array, "n h"], Float[Array, "n h"]], Float[Array, "n t h"]]:
    """Run `lstm_step` over time from ``(h0, c0)``; return the last carry and all outputs.

    `mask` and `checkpoint_every` are as in `rnn`.

    Shapes:    h0 and c0 (n, h), xs (n, t, d), mask (n, t) -> ((n, h), (n, h)), (n, t, h).
    Cost:      one matrix product for the input products of all steps, and one each for the gradients of wx and wh.
    Raises:    ValueError for parameters, states or a mask that do not fit.
    """
    h0, c0 = carry
    xs, alive = _require_sequence("lstm", params, 4, xs, mask, checkpoint_every)
    _require_states("lstm", params, xs, h0=h0, c0=c0)
    h, c, ys = _run(params, jnp.asarray(h0), jnp.asarray(c0), xs, alive, checkpoint_every)
    return (h, c), ys


def stacked_rnn_step(
    layers: Sequence[Params], hs: Sequence[ArrayLike], x: Float[ArrayLike, "..."]
) -> tuple[tuple[Array, ...], Float[Array, "n h"]]:
    """One step of a multilayer network: each layer reads the new state of the one below; return (states, top state).

    Shapes:    one h (n, h_l) for each layer, x (n, d) -> the same states, (n, h_top).
    Source:    CS231n, lecture 10: ``h_t^l = tanh(W^l [h_t^(l-1); h_(t-1)^l])``, W^l being wx above wh.
    """
    return _stack("stacked_rnn_step", rnn_step, layers, hs, x)


def stacked_lstm_step(
    layers: Sequence[Params], carries: Sequence[LSTMCarry], x: Float[ArrayLike, "..."]
) -> tuple[tuple[tuple[Array, Array], ...], Float[Array, "n h"]]:
    """One step of a multilayer LSTM: each layer reads the new h of the one below; return (carries, top h).

    Shapes:    one (h, c) for each layer, x (n, d) -> the same carries, (n, h_top).
    """
    return _stack("stacked_lstm_step", lstm_step, layers, carries, x)


def stacked_rnn(
    layers: Sequence[Params],
    h0s: Sequence[ArrayLike],
    xs: Float[ArrayLike, "..."],
    *,
    mask: ArrayLike | None = None,
    checkpoint_every: int | None = None,
) -> tuple[tuple[Array, ...], Float[Array, "n t h"]]:
    """Run a multilayer network over time, layer by layer; return each layer's last state and the top outputs.

    Shapes:    one h0 (n, h_l) for each layer, xs (n, t, d), mask (n, t) -> the same states, (n, t, h_top); the
               options are those of `rnn`.
    """
    return _stack("stacked_rnn", rnn, layers, h0s, xs, mask=mask, checkpoint_every=checkpoint_every)


def stacked_lstm(
    layers: Sequence[Params],
    carries: Sequence[LSTMCarry],
    xs: Float[ArrayLike, "..."],
    *,
    mask: ArrayLike | None = None,
    checkpoint_every: int | None = None,
) -> tuple[tuple[tuple[Array, Array], ...], Float[Array, "n t h"]]:
    """Run a multilayer LSTM over time, layer by layer; return each layer's last carry and the top outputs.

    Shapes:    one (h0, c0) for each layer, xs (n, t, d), mask (n, t) -> the same carries, (n, t, h_top); the
               options are those of `rnn`.
    """
    return _stack("stacked_lstm", lstm, layers, carries, xs, mask=mask, checkpoint_every=checkpoint_every)


def rnn_zero_carry(params: Params, n: int) -> Float[Array, "n h"]:
    """The state of zeros for `n` sequences, in the dtype of the weights; of a stack, one call a layer."""
    wh = jnp.asarray(params["wh"])
    return jnp.zeros((n, wh.shape[0]), wh.dtype)


def lstm_zero_carry(params: Params, n: int) -> tuple[Float[Array, "n h"], Float[Array, "n h"]]:
    """Hidden state and cell of zeros for `n` sequences, in the dtype of the weights; of a stack, one call a layer."""
    return rnn_zero_carry(params, n), rnn_zero_carry(params, n)


def output_map(params: Params, h: Float[ArrayLike, "*batch h"]) -> Float[Array, "*batch k"]:
    """Read scores from hidden states, ``y = h wy``, plus b where `params` has one.

    Shapes:    h (..., h) with params {"wy": (h, k), "b": (k,)} -> (..., k), in the dtype of h.
    Raises:    ValueError for parameters that do not fit.
    Source:    CS231n, lecture 10: ``y = W_hy h``.
    """
    where, h = "output_map", jnp.asarray(h)
    require("wy" in params, where, "params with wy and perhaps b", params=dict(params))
    wy = jnp.asarray(params["wy"])
    require(wy.ndim == 2 and h.shape[-1:] == wy.shape[:1], where, "wy (h, k) for h (..., h)", h=h, wy=wy)
    y = _product(h, wy)
    if "b" in params:
        require(jnp.shape(params["b"]) == wy.shape[1:], where, "b (k,) for wy (h, k)", wy=wy, b=params["b"])
        y = y + jnp.asarray(params["b"])
    return y.astype(h.dtype)


def embedding(table: Float[ArrayLike, "..."], tokens: ArrayLike) -> Float[Array, "*batch d"]:
    """The rows of the table at the given tokens.

    Shapes:    table (v, d), integer tokens (...) -> (..., d).
    Gradient:  adds up over the places where a token stands.
    Raises:    ValueError for tokens that are not integers, or out of range where they can be seen; a traced token out
               of range gives a row of NaN.
    """
    table = jnp.asarray(table)
    require_rank("embedding", 2, "v d", table=table)
    require_labels("embedding", tokens, table.shape[0], "tokens")
    return table.at[jnp.asarray(tokens)].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


def _product(x: ArrayLike, w: ArrayLike) -> Array:
    """A matrix product that is summed, and returned, in float32 for bfloat16 and float16."""
    return jnp.matmul(x, w, preferred_element_type=statistics_dtype(jnp.result_type(x, w)))


def _input_products(params: Params, x: ArrayLike) -> Array:
    products = _product(jnp.reshape(x, (-1, jnp.shape(x)[-1])), params["wx"]) + jnp.asarray(params["b"])
    return products.reshape(*jnp.shape(x)[:-1], products.shape[-1])  # of matrices: XLA's gradient by wx is quicker so


def _rnn_cell(wh: ArrayLike, h: Array, product: Array) -> tuple[Array, Array]:
    h = jnp.tanh(product + _product(h, wh)).astype(h.dtype)
    return h, h


def _lstm_cell(wh: ArrayLike, carry: tuple[Array, Array], product: Array) -> tuple[tuple[Array, Array], Array]:
    h, c = carry
    i, f, o, g = jnp.split(product + _product(h, wh), 4, axis=-1)
    cell = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = (jax.nn.sigmoid(o) * jnp.tanh(cell)).astype(h.dtype)
    return (h, cell.astype(c.dtype)), h


def _run(
    params: Params, h0: Array, c0: Array, xs: Array, alive: Array, every: int | None
) -> tuple[Array, Array, Array]:
    """Run over the second axis of xs, in segments of `every` steps; return (last h, last c, outputs).

    A segment keeps its inputs and its first carry for the gradient, which computes the rest of it again.
    """
    n, t = xs.shape[:2]
    if every is None or every >= t:
        return _segment(params, h0, c0, xs, alive)
    segment = jax.checkpoint(partial(_segment, params))

    def step(carry: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        h, c, ys = segment(*carry, *now)
        return (h, c), ys

    whole = t // every
    cut = jax.tree.map(
        lambda x: _segments(x, whole, every) if x.shape[1] else jnp.zeros((whole, n, 0), bool), (xs, alive)
    )
    (h, c), ys = jax.lax.scan(step, (h0, c0), cut)
    ys = jnp.swapaxes(ys, 0, 1).reshape(n, whole * every, -1)
    if t % every:
        h, c, rest = segment(h, c, xs[:, whole * every :], alive[:, whole * every :])
        ys = jnp.concatenate([ys, rest], axis=1)
    return h, c, ys


def _segments(x: Array, count: int, length: int) -> Array:
    x = x[:, : count * length]
    return jnp.swapaxes(x.reshape(x.shape[0], count, length, *x.shape[2:]), 0, 1)


def _segment(
    params: Params, h0: Array, c0: Array, xs: Array, alive: Array
) -> tuple[Float[Array, "n h"], Array, Float[Array, "n t h"]]:
    products = _input_products(params, xs)
    if not products.size:
        return h0, c0, jnp.zeros((*xs.shape[:2], h0.shape[1]), h0.dtype)
    wh = jnp.asarray(params["wh"])
    dtype = statistics_dtype(jnp.result_type(products, wh, h0, c0))
    hs, c = recurrence(products.astype(dtype), wh.astype(dtype), h0.astype(dtype), c0.astype(dtype), alive)
    ys = jnp.where(alive[..., None], hs, 0) if alive.shape[1] else hs
    return hs[:, -1].astype(h0.dtype), c.astype(c0.dtype), ys.astype(h0.dtype)


def _stack(where: str, run: Callable, layers: Sequence[Params], carries: Sequence, x: ArrayLike, **options) -> tuple:
    fits = len(layers) == len(carries) >= 1
    require(fits, where, "one carry for each of one or more layers", layers=len(layers), carries=len(carries))
    new = []
    for params, carry in zip(layers, carries, strict=True):
        carry, x = run(params, carry, x, **options)
        new.append(carry)
    return tuple(new), x


def _require_layer(where: str, params: Params, gates: int, x: ArrayLike) -> None:
    require({"wx", "wh", "b"} <= params.keys(), where, "params with wx, wh and b", params=dict(params))
    wx, wh, b = (params[name] for name in ("wx", "wh", "b"))
    d = jnp.shape(x)[-1]
    h = jnp.shape(wh)[0] if jnp.ndim(wh) else 0
    fits = jnp.shape(wx) == (d, gates * h) and jnp.shape(wh) == (h, gates * h) and jnp.shape(b) == (gates * h,)
    width = "h" if gates == 1 else f"{gates}h"
    require(fits, where, f"wx (d, {width}), wh (h, {width}), b ({width},) for x (..., d)", wx=wx, wh=wh, b=b, x=x)


def _require_sequence(
    where: str, params: Params, gates: int, xs: ArrayLike, mask: ArrayLike | None, checkpoint_every: int | None
) -> tuple[Array, Array]:
    """The inputs, and the mask or, for none, one of no width."""
    require_rank(where, 3, "n t d", xs=xs)
    _require_layer(where, params, gates, xs)
    fits = checkpoint_every is None or checkpoint_every >= 1
    require(fits, where, "checkpoint_every of at least 1", checkpoint_every=checkpoint_every)
    if mask is None:
        return jnp.asarray(xs), jnp.zeros((jnp.shape(xs)[0], 0), bool)
    fits = jnp.shape(mask) == jnp.shape(xs)[:2] and jnp.result_type(mask) == jnp.bool_
    require(fits, where, "a mask of booleans (n, t) for xs (n, t, d)", mask=mask, xs=xs)
    return jnp.asarray(xs), jnp.asarray(mask)


def _require_states(where: str, params: Params, x: ArrayLike, **states: ArrayLike) -> None:
    n, h = jnp.shape(x)[0], jnp.shape(params["wh"])[0]
    for name, state in states.items():
        require(
            jnp.shape(state) == (n, h), where, f"{name} of shape {(n, h)}, one state a sequence", **{name: state}, x=x
        )
