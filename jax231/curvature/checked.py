"""What derivatives are asked of, checked while it is traced: real parameters, and one real number for a loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import PyTree


def require_parameters(where: str, params: PyTree) -> None:
    """Floating point numbers in every leaf, and at least one in all."""
    for name, leaf in zip(tree.names(params), jax.tree.leaves(params), strict=True):
        dtype = jnp.result_type(leaf)
        require(jnp.issubdtype(dtype, jnp.floating), where, "parameters that are floating point numbers",
                leaf=name or "params", dtype=str(dtype))  # fmt: skip
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    require(any(0 not in shape for shape in shapes), where, "at least one parameter", shapes=shapes)


def require_alike(where: str, like: PyTree, **vectors: PyTree) -> None:
    """Trees with the structure and the shapes of `like`: others might broadcast in silence."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(like)]
    for name, vector in vectors.items():
        found = [jnp.shape(leaf) for leaf in jax.tree.leaves(vector)]
        alike = found == shapes and jax.tree.structure(vector) == jax.tree.structure(like)
        require(alike, where, f"{name} as a tree {jax.tree.structure(like)} of {shapes}", **{name: found})


def scalar(where: str, fun: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """`fun`, held to one real number without aux."""

    def checked(*args: PyTree) -> jax.Array:
        result = fun(*args)
        leaves = jax.tree.leaves(result)
        one = len(leaves) == 1 and leaves[0] is result and jnp.shape(result) == ()
        real = one and jnp.issubdtype(jnp.result_type(result), jnp.floating)
        seen = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), result)
        require(real, where, "a function that returns one real number, without aux", result=seen)
        return result

    return checked
