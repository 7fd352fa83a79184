"""What every layer has in common: it can be watched while it is traced, and it may compute in a type of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array

from jax231.core.checks import require

Watcher = Callable[["Layer", tuple[Any, ...], Any], Any]
"""``watcher(layer, inputs, output) -> output``: sees every call of a layer, and may change what it returns."""

M = TypeVar("M", bound=nnx.Module)

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Within the context `watcher` is called after each call of a layer, innermost layers first.

    It runs while a model is traced, once a call; what it collects are traced values of that trace.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def watched() -> bool:
    """Whether somebody watches: then blocks are not rematerialized, so that all values belong to one trace."""
    return _watcher.get() is not None


class Layer(nnx.Module):
    """A module whose calls can be watched; `dtype` is the type it computes in, None that of its operands.

    Parameters keep their own type and are cast in each call (`compute_in` sets `dtype` in a whole model).
    """

    dtype: DTypeLike | None = None

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "__call__" in cls.__dict__:
            cls.__call__ = _seen(cls.__call__)

    def cast(self, x: ArrayLike) -> Array:
        """`x` in the type that this layer computes in; integers stay integers."""
        x = jnp.asarray(x)
        return x if self.dtype is None or not jnp.issubdtype(x.dtype, jnp.floating) else x.astype(self.dtype)


def compute_in(module: M, dtype: DTypeLike | None) -> M:
    """Let all layers of `module` compute in `dtype`, such as bfloat16; return the module.

    Parameters and running statistics stay as they are, normalisation forms its statistics in float32.

    Raises:  ValueError for a type that is not floating.
    """
    floating = dtype is None or jnp.issubdtype(dtype, jnp.floating)
    require(floating, "compute_in", "a floating type, or None for that of the operands", dtype=str(dtype))
    for _, layer in nnx.iter_modules(module):
        if isinstance(layer, Layer):
            layer.dtype = dtype
    return module


def _seen(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def watched_call(self: Layer, *inputs: Any, **options: Any) -> Any:
        output = call(self, *inputs, **options)
        watcher = _watcher.get()
        return output if watcher is None else watcher(self, inputs, output)

    return watched_call
