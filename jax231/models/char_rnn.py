"""Character-level language models: recurrent layers read a text and score what may come next."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Integer

from jax231.core.checks import require
from jax231.functional import recurrent
from jax231.functional.initializers import gaussian
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout
from jax231.nn.recurrent import LSTM, RNN, Embedding, Stack

KINDS = {"rnn": RNN, "lstm": LSTM}


class CharRNN(Layer):
    """Tokens, one-hot or as the rows of an embedding, through a stack of recurrent layers, to the next token's scores.

    The first and the last carry are an argument and a result, so that a long text can be read in pieces, each of which
    goes on where the one before it ended: truncated backpropagation through time.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        kind: str,
        layers: int,
        hidden: int,
        embedding: int | None,
        dropout: float,
        rngs: nnx.Rngs,
    ):
        self.vocabulary = vocabulary
        self.embedding = None if embedding is None else Embedding(vocabulary, embedding, rngs=rngs)
        fans = (embedding or vocabulary, *[hidden] * (layers - 1))
        dropouts = [Dropout(dropout, rngs=rngs) for _ in fans] if dropout else []
        self.recurrent = Stack([KINDS[kind](fan, hidden, rngs=rngs) for fan in fans], dropouts)
        self.scores = Affine(hidden, vocabulary, kernel_init=gaussian(0.01), rngs=rngs)

    def __call__(self, inputs: tuple[Any, Integer[ArrayLike, "n t"]]) -> tuple[Any, Float[Array, "n t v"]]:
        """The last carry, and at every step the scores of the token after it; a carry of None is one of zeros."""
        carry, tokens = inputs
        carry = self.recurrent.zero_carry(jnp.shape(tokens)[0]) if carry is None else carry
        carry, h = self.recurrent(carry, self.read(tokens))
        return carry, self.scores(h)

    def read(self, tokens: Integer[ArrayLike, "n t"]) -> Float[Array, "n t d"]:
        """What the lowest layer sees of each token."""
        if self.embedding is not None:
            return self.embedding(tokens)
        return recurrent.embedding(jnp.eye(self.vocabulary, dtype=self.scores.kernel.dtype), tokens)


def char_rnn(
    shape: tuple[int, ...],
    classes: int,
    *,
    kind: str = "rnn",
    layers: int = 2,
    hidden: int = 128,
    embedding: int | None = None,
    dropout: float = 0.0,
) -> Constructor:
    """A recurrent network of `layers` vanilla ("rnn") or LSTM ("lstm") layers over a vocabulary of `classes` tokens.

    `embedding` is the width of learned vectors for the tokens, which else are one-hot; `dropout` is the rate at which
    the outputs of each layer are thinned. `shape` is that of one text, (t,); the weights are the same for any t.

    Shapes:  inputs (carry, tokens (n, t)) -> (carry, logits (n, t, classes)); carries as `zero_carry`'s, or None.
    Raises:  ValueError for another kind, and for numbers out of range.
    Source:  CS231n lecture 10; Karpathy 2015, The unreasonable effectiveness of recurrent neural networks; Hochreiter
             and Schmidhuber 1997.
    """
    require(len(shape) == 1, "char_rnn", "the shape of one text, (t,)", shape=shape)
    _require_stack("char_rnn", kind, layers, hidden)
    require(embedding is None or embedding >= 1, "char_rnn", "an embedding of at least 1, or none", embedding=embedding)
    return lambda rngs: CharRNN(
        classes, kind=kind, layers=layers, hidden=hidden, embedding=embedding, dropout=dropout, rngs=rngs
    )


def zero_carry(n: int, *, kind: str = "rnn", layers: int = 2, hidden: int = 128, dtype: DTypeLike = float) -> Any:
    """The carry before the first step of `n` texts: for each layer h (n, hidden) of zeros, or (h, c) of an LSTM.

    Raises:  ValueError for another kind, and for numbers out of range.
    """
    _require_stack("zero_carry", kind, layers, hidden)
    h = jnp.zeros((n, hidden), dtype)
    return ((h, h) if kind == "lstm" else h,) * layers


def _require_stack(where: str, kind: str, layers: int, hidden: int) -> None:
    require(kind in KINDS, where, f"one of {', '.join(KINDS)}", kind=kind)
    require(layers >= 1 and hidden >= 1, where, "at least one layer of one unit", layers=layers, hidden=hidden)
