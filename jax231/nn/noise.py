"""Layers that are random in training: dropout, drop-path, stochastic depth."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require, require_rate
from jax231.core.types import Key, Scalar
from jax231.functional.dropout import drop_path, dropout, stochastic_depth
from jax231.nn.layer import Layer


class Rate(nnx.Variable):
    """The share that a layer drops: neither a parameter nor a state, given with each call of `bridge`'s ``apply``."""


class Noisy(Layer):
    """A layer with a rate and a stream of keys, which does nothing random while `deterministic`.

    `kind` is the layer's name among the ``rates`` of `bridge.functionalize`, where one number sets the rates of all
    layers of a kind: each drops `share` times that number.

    Raises:  ValueError for a rate, or a share of it, outside [0, 1].
    """

    kind: str

    def __init__(self, rate: float, *, share: float = 1.0, kind: str | None = None, rngs: nnx.Rngs):
        require_rate(type(self).__name__, "rate", rate)
        require_rate(type(self).__name__, "share * rate", share * rate)
        self.kind = kind or type(self).kind
        self.share = share
        self.default = float(rate)
        self.rate = Rate(jnp.asarray(rate, jnp.float32))
        self.stream = rngs.dropout.fork()
        self.deterministic = False

    def chance(self) -> Float[Array, ""]:
        """The probability with which this layer drops."""
        return self.share * self.rate[...]

    def key(self) -> Key:
        """A fresh key."""
        return self.stream()


class Dropout(Noisy):
    """Drops single activations, `dropout.dropout`."""

    kind = "dropout"

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """`x`, thinned in training."""
        return x if self.deterministic else dropout(self.key(), x, self.chance())


class DropPath(Noisy):
    """Drops a branch for single examples of the batch, `dropout.drop_path`."""

    kind = "drop_path"

    def __call__(self, x: Float[Array, "n *shape"]) -> Float[Array, "n *shape"]:
        """`x`, thinned in training."""
        return x if self.deterministic else drop_path(self.key(), x, self.chance())


class StochasticDepth(Noisy):
    """``x + residual``, the residual branch dropped for the whole batch at once, `dropout.stochastic_depth`.

    Raises:  ValueError for a residual of another shape.
    """

    kind = "stochastic_depth"

    def __call__(self, x: Float[Array, "*shape"], residual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The sum, or `x` alone."""
        same = x.shape == residual.shape
        require(same, "StochasticDepth", "x and residual of one shape", x=x, residual=residual)
        if self.deterministic:
            return x + residual
        return stochastic_depth(self.key(), x, residual, self.chance())


def noisy(module: nnx.Module) -> list[Noisy]:
    """The random layers of `module`."""
    return [layer for _, layer in nnx.iter_modules(module) if isinstance(layer, Noisy)]


def streams(module: nnx.Module) -> list[nnx.RngStream]:
    """The streams of keys within `module`, in the order in which `hand_out` goes through them."""
    return [stream for _, stream in nnx.iter_graph(module) if isinstance(stream, nnx.RngStream)]


def hand_out(module: nnx.Module, key: Key | None, rates: Mapping[str, Scalar]) -> None:
    """Give each stream of `module` a key of its own, folded out of `key`, and each random layer its rate.

    That is the one that `rates` has for its kind, or its default. Without a key, where nothing is drawn, streams are
    made anew all the same: what is in them must belong to the trace that runs the module.

    Raises:  ValueError for a rate that is known, or a share of it, outside [0, 1].
    """
    for place, stream in enumerate(streams(module)):
        own = jax.random.key(0) if key is None else jax.random.fold_in(key, place)
        stream.key = nnx.RngKey(own, tag=stream.tag)
        stream.count = nnx.RngCount(jnp.zeros((), jnp.uint32), tag=stream.tag)
    for layer in noisy(module):
        rate = rates.get(layer.kind, layer.default)
        require_rate("apply", layer.kind, rate)
        require_rate("apply", f"{layer.share} * {layer.kind}", layer.share * rate)
        layer.rate = Rate(jnp.asarray(rate, jnp.float32))
