"""Vector arithmetic on pytrees of arrays, and the names of their leaves."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jax231.core.precision import statistics_dtype

PyTree = Any


def dot(a: PyTree, b: PyTree) -> jax.Array:
    """Inner product over all leaves, at highest matrix precision; in float32 for bfloat16 and float16 leaves."""

    def product(x: jax.Array, y: jax.Array) -> jax.Array:
        wide = statistics_dtype(x.dtype, y.dtype)
        if any(jax.typeof(x).sharding.spec):  # over an explicit mesh, where an array has no flat form
            return jnp.sum(x.astype(wide) * y.astype(wide))
        return jnp.vdot(x, y, precision=jax.lax.Precision.HIGHEST, preferred_element_type=wide)

    leaves = jax.tree.leaves(jax.tree.map(product, a, b))
    return functools.reduce(operator.add, leaves) if leaves else jnp.zeros(())


def norm(a: PyTree) -> jax.Array:
    """Euclidean norm over all leaves, NaN where an entry is; its gradient at zero is zero."""
    square = dot(a, a)
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


def add(a: PyTree, b: PyTree) -> PyTree:
    """Sum, leaf by leaf."""
    return jax.tree.map(jnp.add, a, b)


def scale(factor: jax.Array | float, a: PyTree) -> PyTree:
    """`factor * a`, each leaf in its own dtype."""
    return jax.tree.map(lambda x: (factor * x).astype(x.dtype), a)


def axpy(factor: jax.Array | float, x: PyTree, y: PyTree) -> PyTree:
    """`factor * x + y`, each leaf in the dtype of `y`."""
    return jax.tree.map(lambda p, q: (factor * p + q).astype(q.dtype), x, y)


def zeros_like(a: PyTree) -> PyTree:
    """Zeros of the same structure, shapes and dtypes."""
    return jax.tree.map(jnp.zeros_like, a)


def where(condition: jax.Array, a: PyTree, b: PyTree) -> PyTree:
    """`a` where the scalar `condition` holds, else `b`, leaf by leaf."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def size(a: PyTree) -> int:
    """Number of scalars in all leaves."""
    return sum(x.size for x in jax.tree.leaves(a))


def ravel(a: PyTree) -> tuple[jax.Array, Callable[[jax.Array], PyTree]]:
    """All leaves as one vector, and the function that puts a vector back into the tree's shape."""
    return ravel_pytree(a)


def name(path: tuple[Any, ...]) -> str:
    """A key path of `jax.tree_util` as ``"conv1/kernel"``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def names(a: PyTree) -> list[str]:
    """The names of all leaves in order, ``"conv1/kernel"``."""
    return [name(path) for path, _ in jax.tree_util.tree_leaves_with_path(a)]
