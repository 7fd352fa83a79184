"""What travels between the folders: batches, models, losses."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax

PyTree = Any
"""A nested container of arrays; `params` is a nested dict named by strings."""

Scalar = jax.Array | float | int
"""A number that may be traced; Python numbers do not widen the arrays that they meet."""

Key = jax.Array
"""A typed PRNG key of `jax.random.key`."""


class Batch(NamedTuple):
    """Examples with their targets; `weight` (n,) of 0 marks padding, None counts every example once."""

    inputs: PyTree
    targets: PyTree
    weight: jax.Array | None = None


class Apply(Protocol):
    """``apply(params, state, inputs, *, train, key, rates={}) -> (outputs, state)``, pure."""

    def __call__(
        self,
        params: PyTree,
        state: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Key | None = None,
        rates: Mapping[str, Any] = MappingProxyType({}),
    ) -> tuple[PyTree, PyTree]:
        """The model's outputs and its new state (running statistics)."""
        ...


class Model(NamedTuple):
    """A model is pure functions; where they come from (plain JAX, Flax, Equinox) is nobody's business above.

    ``apply_tapped(params, probes, inputs, ...) -> (outputs, layer_inputs)`` is for K-FAC, and None where there is none.
    """

    init: Callable[[Key], tuple[PyTree, PyTree]]
    apply: Apply
    apply_tapped: Callable[..., tuple[PyTree, dict[str, PyTree]]] | None = None


class TappedLayer(NamedTuple):
    """How a layer applies its kernel: an affine map as it is, a convolution with these settings of `lax`."""

    stride: tuple[int, int] = (1, 1)
    padding: str | tuple[tuple[int, int], tuple[int, int]] = "SAME"
    dilation: tuple[int, int] = (1, 1)
