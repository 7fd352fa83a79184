"""A batch over several devices: each computes its share, and XLA puts the gradients together."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jax231.core.checks import require
from jax231.core.types import PyTree

AXIS = "batch"


def mesh(count: int | None = None) -> Mesh:
    """The first `count` devices in a row (None: all), of every process that takes part.

    Raises: ValueError for more devices than there are.
    """
    there = jax.devices()
    count = len(there) if count is None else count
    require(1 <= count <= len(there), "devices", f"a number of devices within [1, {len(there)}]", devices=count)
    return Mesh(np.array(there[:count]), (AXIS,))


def spread(batch: PyTree, mesh: Mesh) -> PyTree:
    """The batch inside a compiled step, cut along its first axis over the devices.

    Raises: ValueError for a batch that is no multiple of their number.
    """
    return jax.lax.with_sharding_constraint(batch, _cut(batch, mesh))


def deal(batch: PyTree, mesh: Mesh) -> PyTree:
    """The batch from the host's memory, cut as by `spread`.

    Raises: ValueError as `spread`.
    """
    return jax.device_put(batch, _cut(batch, mesh))


def require_fits(batch: int, mesh: Mesh) -> None:
    """So many examples can be cut over the devices.

    Raises: ValueError for a number that is no multiple of theirs.
    """
    require(batch % mesh.size == 0, "devices", f"a batch that is a multiple of the {mesh.size} devices", batch=batch)


def _cut(batch: PyTree, mesh: Mesh) -> NamedSharding:
    for x in jax.tree.leaves(batch):
        require_fits(x.shape[0], mesh)
    return NamedSharding(mesh, P(AXIS))


def whole(mesh: Mesh) -> NamedSharding:
    """The place of what every device has whole."""
    return NamedSharding(mesh, P())


def replicate(values: PyTree, mesh: Mesh) -> PyTree:
    """The values whole on every device; of several processes each has them already, and they are the same."""
    place = whole(mesh)
    if jax.process_count() == 1:
        return jax.device_put(values, place)

    def laid(x: Any) -> Any:
        if not isinstance(x, jax.Array):
            x = jnp.asarray(x)
        if not x.is_fully_addressable:
            return x
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(laid(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        own = np.asarray(x)
        return jax.make_array_from_callback(own.shape, place, lambda index: own[index])

    return jax.tree.map(laid, values)


def replicated(types: PyTree, mesh: Mesh) -> PyTree:
    """Shapes and types of values that are to be whole on every device, for one who reads them from a checkpoint."""
    place = whole(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), types)
