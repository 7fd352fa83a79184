"""Layers one after the other, and blocks whose activations are computed again in the backward pass."""

from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx

from jax231.nn.layer import Layer, watched


def rematerialized(block: nnx.Module, *inputs: Any) -> Any:
    """``block(*inputs)``, of which a gradient keeps the inputs only: it runs the block forward once more.

    While the layers are watched the block runs as it is: what is seen belongs to one trace.

    Source: Chen et al. 2016 (arXiv:1604.06174).
    """
    if watched():
        return block(*inputs)
    return nnx.remat(lambda block, *inputs: block(*inputs))(block, *inputs)


class Sequential(Layer):
    """``layers[-1](... layers[0](x))``; an item is a module or any function of one array.

    With `remat` each module is `rematerialized`: memory for the inputs of the items instead of everything inside.
    """

    def __init__(self, layers: Sequence[Callable[..., Any]], *, remat: bool = False):
        self.layers = nnx.List(layers)
        self.remat = remat

    def __call__(self, x: Any) -> Any:
        """What the last layer returns."""
        for layer in self.layers:
            x = rematerialized(layer, x) if self.remat and isinstance(layer, nnx.Module) else layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, place: int) -> Callable[..., Any]:
        return self.layers[place]
