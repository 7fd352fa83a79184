"""Recurrent layers over whole sequences, and the embedding of tokens."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from jax231.core.checks import require
from jax231.functional import recurrent
from jax231.functional.initializers import Initializer, gaussian, orthogonal, xavier
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout


class Embedding(Layer):
    """`recurrent.embedding`; table (v, d)."""

    def __init__(self, vocabulary: int, d: int, *, table_init: Initializer = gaussian(1.0), rngs: nnx.Rngs):
        self.table = nnx.Param(table_init(rngs.params(), (vocabulary, d)))

    def __call__(self, tokens: Integer[ArrayLike, "*batch"]) -> Float[Array, "*batch d"]:
        """The rows of the tokens."""
        return recurrent.embedding(self.cast(self.table[...]), tokens)


class _Recurrent(Layer):
    """Weights ``wx`` (d, gates h) and ``wh`` (h, gates h), bias ``b`` (gates h,)."""

    gates: ClassVar[int]
    run: ClassVar[Callable[..., Any]]

    def __init__(self, d: int, h: int, *, checkpoint_every: int | None = None, rngs: nnx.Rngs):
        self.h, self.checkpoint_every = h, checkpoint_every
        columns = self.gates * h
        self.wx = nnx.Param(xavier()(rngs.params(), (d, columns)))
        hidden = [orthogonal()(rngs.params(), (h, h)) for _ in range(self.gates)]
        self.wh = nnx.Param(jnp.concatenate(hidden, axis=1))
        self.b = nnx.Param(jnp.zeros(columns, self.wx.dtype))

    @property
    def weights(self) -> dict[str, Array]:
        """What the functions of `recurrent` call ``params``."""
        return {name: self.cast(getattr(self, name)[...]) for name in ("wx", "wh", "b")}

    def __call__(self, carry: Any, xs: Float[Array, "n t d"], *, mask: ArrayLike | None = None):
        """The last carry, and h at every step (n, t, h)."""
        run = type(self).run
        return run(self.weights, carry, self.cast(xs), mask=mask, checkpoint_every=self.checkpoint_every)

    def macs(self, inputs: tuple[Any, ...], output: Any) -> int:
        """Multiplications with a weight in a call."""
        del output
        n, t, _ = inputs[1].shape
        return n * t * (self.wx.size + self.wh.size)


class RNN(_Recurrent):
    """`recurrent.rnn`: ``h' = tanh(x wx + h wh + b)``."""

    gates = 1
    run = staticmethod(recurrent.rnn)

    def zero_carry(self, n: int) -> Float[Array, "n h"]:
        """The state before the first step, for n sequences."""
        return recurrent.rnn_zero_carry(self.weights, n)


class LSTM(_Recurrent):
    """`recurrent.lstm`; the gates' columns are i, f, o, g, and the bias of f starts at `forget_bias`.

    Source: Jozefowicz et al. 2015 (ICML), section 2.3, for that bias.
    """

    gates = 4
    run = staticmethod(recurrent.lstm)

    def __init__(
        self, d: int, h: int, *, forget_bias: float = 1.0, checkpoint_every: int | None = None, rngs: nnx.Rngs
    ):
        super().__init__(d, h, checkpoint_every=checkpoint_every, rngs=rngs)
        self.b[...] = self.b[...].at[h : 2 * h].set(forget_bias)

    def zero_carry(self, n: int) -> tuple[Float[Array, "n h"], Float[Array, "n h"]]:
        """Hidden state and cell before the first step, for n sequences."""
        return recurrent.lstm_zero_carry(self.weights, n)


class Stack(Layer):
    """Recurrent layers on top of each other: each reads the outputs of the one below; carries are tuples, a carry each.

    With `dropouts`, one a layer, outputs lose entries on their way up; what a layer hands on in time stays whole.

    Raises: ValueError without layers, and where dropouts or carries are not one a layer.
    Source: CS231n, lecture 10, multilayer RNNs; Zaremba et al. 2014 (arXiv:1409.2329) for the dropout.
    """

    def __init__(self, layers: Sequence[RNN | LSTM], dropouts: Sequence[Dropout] = ()):
        require(len(layers) >= 1, "Stack", "at least one layer", layers=len(layers))
        fits = len(dropouts) in (0, len(layers))
        require(fits, "Stack", "no dropouts, or one a layer", layers=len(layers), dropouts=len(dropouts))
        self.layers = nnx.List(layers)
        self.dropouts = nnx.List(dropouts)

    def __call__(self, carries: Sequence[Any], xs: Float[Array, "n t d"], *, mask: ArrayLike | None = None):
        """The last carries, and the outputs of the top layer."""
        fits = len(carries) == len(self.layers)
        require(fits, "Stack", "one carry a layer", layers=len(self.layers), carries=len(carries))
        new = []
        for place, (layer, carry) in enumerate(zip(self.layers, carries, strict=True)):
            carry, xs = layer(carry, xs, mask=mask)
            xs = self.dropouts[place](xs) if self.dropouts else xs
            new.append(carry)
        return tuple(new), xs

    def zero_carry(self, n: int) -> tuple[Any, ...]:
        """The carries before the first step, for n sequences."""
        return tuple(layer.zero_carry(n) for layer in self.layers)
