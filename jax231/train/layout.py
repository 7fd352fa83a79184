"""Where the arrays of a run lie: on one device, or over several of one or more processes."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from jax231.core.types import PyTree
from jax231.train import processes
from jax231.train.step import Place


class Layout(NamedTuple):
    """`place` cuts a batch within a step, and `deal` one that comes from the host's memory; `spread` lays out all else.

    `placed` are shapes and types so laid out, and `results` the arguments of `jax.jit` for results so laid out.
    `require_fits` refuses a number of examples that cannot be cut.
    """

    place: Place = lambda batch: batch
    deal: Callable[[PyTree], PyTree] = jax.device_put
    spread: Callable[[PyTree], PyTree] = lambda values: values
    placed: Callable[[PyTree], PyTree] = lambda types: types
    results: Mapping[str, Any] = MappingProxyType({})
    require_fits: Callable[[int], None] = lambda batch: None


def layout(devices: int) -> Layout:
    """The layout over so many devices; 0 takes all of them."""
    if devices == 1 and not processes.several():
        return Layout()
    from jax231.train import devices as several

    mesh = several.mesh(devices or None)
    return Layout(
        partial(several.spread, mesh=mesh),
        partial(several.deal, mesh=mesh),
        partial(several.replicate, mesh=mesh),
        partial(several.replicated, mesh=mesh),
        {"out_shardings": several.whole(mesh)},
        partial(several.require_fits, mesh=mesh),
    )
