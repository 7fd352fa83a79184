"""Image captions: an encoder sets the first state of a recurrent network, which then tells what it saw."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int32, Integer

from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.functional.initializers import xavier
from jax231.models.char_rnn import KINDS, CharRNN
from jax231.nn.affine import Affine
from jax231.nn.bridge import functionalize
from jax231.nn.layer import Layer
from jax231.nn.pool import GlobalAvgPool
from jax231.nn.sequential import Sequential
from jax231.nn.stage import Stage

NULL, START, END = 0, 1, 2
"""The tokens that are no words: what fills a caption up to its length, what goes before it, what ends it."""


class Encoder(Layer):
    """Features of an image, or a small ConvNet over it, and an affine map to the first hidden state; cells are 0."""

    def __init__(self, shape: tuple[int, ...], channels: Sequence[int], *, kind: str, hidden: int, rngs: nnx.Rngs):
        fans = zip((*shape[2:], *channels), channels, strict=False)
        stages = [Stage(cin, (cout,), batch_norm=True, rngs=rngs) for cin, cout in fans] if len(shape) == 3 else []
        self.convnet = Sequential([*stages, GlobalAvgPool()]) if stages else None
        d = channels[-1] if stages else shape[0]
        self.state = Affine(d, hidden, kernel_init=xavier(), rngs=rngs)
        self.kind = kind

    def __call__(self, x: Float[ArrayLike, "n ..."]) -> Any:
        """The carry before the first word."""
        x = jnp.asarray(x)
        h = self.state(x if self.convnet is None else self.convnet(x))
        return ((h, jnp.zeros_like(h)) if self.kind == "lstm" else h,)


class Caption(Layer):
    """The encoder's carry, and a language model of words that starts with it."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        kind: str,
        hidden: int,
        embedding: int,
        channels: Sequence[int],
        dropout: float,
        rngs: nnx.Rngs,
    ):
        self.encoder = Encoder(shape, channels, kind=kind, hidden=hidden, rngs=rngs)
        self.decoder = CharRNN(
            classes, kind=kind, layers=1, hidden=hidden, embedding=embedding, dropout=dropout, rngs=rngs
        )

    def __call__(self, inputs: tuple[Float[ArrayLike, "n ..."], Integer[ArrayLike, "n t"]]) -> Float[Array, "n t v"]:
        """At every word the scores of the word after it."""
        images, tokens = inputs
        _, scores = self.decoder((self.encoder(images), tokens))
        return scores


def caption(
    shape: tuple[int, ...],
    classes: int,
    *,
    kind: str = "lstm",
    hidden: int = 512,
    embedding: int = 256,
    channels: Sequence[int] = (32, 64, 128),
    dropout: float = 0.0,
) -> Callable[[nnx.Rngs], Caption]:
    """A vanilla ("rnn") or "lstm" network of one layer over a vocabulary of `classes` words, started by an image.

    `shape` is (d,) for features of the images, such as those of a VGG net, or (h, w, c) for the images themselves,
    which then go through a convolution, batch normalisation, relu and 2x2 max pooling for each of `channels`, and the
    mean over what is left. Words are read as learned vectors of width `embedding`.

    The scores at word i are for word i + 1: of a caption ``START a b c END NULL NULL`` inputs are all but the last
    word, targets all but the first, and the loss (`losses.caption_cross_entropy`) leaves out targets that are `NULL`.

    Shapes:  inputs (features (n, d) or images (n, h, w, c), tokens (n, t)) -> (n, t, classes).
    Raises:  ValueError for another kind, and for images that are too small.
    Source:  Vinyals et al. 2015 (arXiv:1411.4555), which feeds the image as the first word instead; as here: CS231n
             assignment 3, after Karpathy and Fei-Fei 2015 (arXiv:1412.2306).
    """
    require(kind in KINDS, "caption", f"one of {', '.join(KINDS)}", kind=kind)
    require(len(shape) in (1, 3), "caption", "features (d,) or images (h, w, c)", shape=shape)
    require(len(channels) >= 1, "caption", "at least one convolution", channels=channels)
    least = 2 ** len(channels)
    large_enough = len(shape) == 1 or min(shape[:2]) >= least
    require(large_enough, "caption", f"images of at least {least}x{least}", shape=shape)
    return lambda rngs: Caption(
        shape,
        classes,
        kind=kind,
        hidden=hidden,
        embedding=embedding,
        channels=channels,
        dropout=dropout,
        rngs=rngs,
    )


def greedy(
    constructor: Callable[[nnx.Rngs], Caption], steps: int, *, start: int = START, end: int = END, null: int = NULL
) -> Callable[[PyTree, PyTree, ArrayLike], Int32[Array, "n steps"]]:
    """``tell(params, state, images) -> tokens (n, steps)``: the word of the highest score at every step.

    The first word read is `start`, then each one told; of equal scores the first is the highest. After `end` comes
    `null`. `constructor` is that of a `caption` model, or of any module with an encoder and a decoder like its.

    Cost:    one step of the decoder a word.
    """
    encode = functionalize(lambda rngs: constructor(rngs).encoder).apply
    decode = functionalize(lambda rngs: constructor(rngs).decoder).apply

    def tell(params: PyTree, state: PyTree, images: Float[ArrayLike, "n ..."]) -> Int32[Array, "n steps"]:
        def step(now: tuple[Any, Array, Array], _: None) -> tuple[tuple[Any, Array, Array], Array]:
            carry, word, ended = now
            (carry, scores), _ = decode(params["decoder"], {}, (carry, word[:, None]), train=False)
            word = jnp.where(ended, null, scores[:, 0].argmax(-1)).astype(jnp.int32)
            return (carry, word, ended | (word == end)), word

        carry, _ = encode(params["encoder"], state.get("encoder", {}), images, train=False)
        n = jnp.shape(images)[0]
        first = (carry, jnp.full(n, start, jnp.int32), jnp.zeros(n, bool))
        return jax.lax.scan(step, first, length=steps)[1].T

    return tell
