"""Where the parts of an array lie, for meshes whose axes are explicit: there the placement is a part of the type."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec, reshard

from jax231.core.types import PyTree


def is_split(x: jax.typing.ArrayLike) -> bool:
    """Whether the type of `x` says that it is split over devices."""
    return any(jax.typeof(x).sharding.spec)


def placed(tree: PyTree, like: PyTree) -> PyTree:
    """`tree` laid out over the devices as `like` is."""
    return jax.tree.map(lambda x, y: reshard(x, jax.typeof(y).sharding) if is_split(y) else x, tree, like)


def gathered(tree: PyTree) -> PyTree:
    """`tree` whole on every device, as arrays must be that are to be one vector."""
    return jax.tree.map(lambda x: reshard(x, PartitionSpec(*[None] * jnp.ndim(x))) if is_split(x) else x, tree)
