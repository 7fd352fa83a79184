"""Vectors with the structure of the parameters: random ones, stacks of them, and what is orthogonal to a stack.

A stack is the same tree with one more leading axis. All are held in float32 at least: products see them in the dtypes
of the parameters, sums and projections do not.
"""

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.precision import statistics_dtype
from jax231.core.types import Key, PyTree
from jax231.curvature.placement import is_split, placed
from jax231.curvature.products import Product


def wide(vector: PyTree) -> PyTree:
    """`vector` in float32 at least."""
    return jax.tree.map(lambda x: jnp.asarray(x, statistics_dtype(jnp.result_type(x))), vector)


def narrow(vector: PyTree, like: PyTree) -> PyTree:
    """`vector` in the dtypes of `like`, and placed over the devices as it is."""
    return placed(jax.tree.map(lambda x, y: x.astype(jnp.result_type(y)), vector, like), like)


def widened(product: Product, like: PyTree) -> Product:
    """`product` from wide vectors to wide vectors, itself evaluated in the dtypes of `like`."""
    return lambda vector: wide(product(narrow(vector, like)))


def rademacher(key: Key, like: PyTree) -> PyTree:
    """Entries of -1 and 1 with equal probability, in the shapes of `like`."""
    return _drawn(jax.random.rademacher, key, like)


def normal(key: Key, like: PyTree) -> PyTree:
    """Independent standard normal entries in the shapes of `like`."""
    return _drawn(jax.random.normal, key, like)


def zero_stack(count: int, like: PyTree) -> PyTree:
    """A stack of `count` zero vectors."""
    return jax.vmap(lambda _: tree.zeros_like(wide(like)), axis_size=count)(None)


def unit(vector: PyTree) -> PyTree:
    """`vector` at length 1; zero stays zero."""
    length = tree.norm(vector)
    return tree.scale(jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1), 0), vector)


def put(stack: PyTree, place: jax.Array, vector: PyTree) -> PyTree:
    """`stack` with `vector` at `place`."""
    return jax.tree.map(lambda x, y: jax.lax.dynamic_update_index_in_dim(x, y, place, 0), stack, vector)


def coefficients(stack: PyTree, vector: PyTree) -> Float[Array, " m"]:
    """The inner product of each vector of the stack with `vector`."""

    def products(x: jax.Array, y: jax.Array) -> jax.Array:
        if is_split(y):
            return jnp.sum(x * y, axis=tuple(range(1, x.ndim)))
        return jnp.tensordot(x, y, axes=y.ndim, precision=jax.lax.Precision.HIGHEST)

    return functools.reduce(operator.add, jax.tree.leaves(jax.tree.map(products, stack, vector)))


def combination(weights: Float[Array, "*k m"], stack: PyTree) -> PyTree:
    """The sum of the vectors of the stack by `weights`; for a matrix of weights, a stack with one sum for each row."""
    return jax.tree.map(lambda x: jnp.tensordot(weights, x, axes=1, precision=jax.lax.Precision.HIGHEST), stack)


def without(vector: PyTree, stack: PyTree) -> PyTree:
    """`vector` less its components along the orthonormal (or zero) vectors of the stack, in one pass."""
    return tree.axpy(-1.0, combination(coefficients(stack, vector), stack), vector)


def orthogonal_part(vector: PyTree, stack: PyTree) -> PyTree:
    """`without` in two passes, which is enough for orthogonality to rounding (Parlett 1998, section 6.9)."""
    return without(without(vector, stack), stack)


def orthonormal(stack: PyTree) -> PyTree:
    """An orthonormal basis of what the stack spans, by Gram and Schmidt; zero for what depends on those before."""
    stack = wide(stack)
    count = jax.tree.leaves(stack)[0].shape[0]

    def add(basis: PyTree, row: tuple[jax.Array, PyTree]) -> tuple[PyTree, None]:
        place, vector = row
        rest = orthogonal_part(vector, basis)
        independent = tree.norm(rest) > rounding(tree.norm(vector))
        return put(basis, place, tree.scale(independent, unit(rest))), None

    return jax.lax.scan(add, tree.zeros_like(stack), (jnp.arange(count), stack))[0]


def rounding(length: Float[Array, ""]) -> Float[Array, ""]:
    """The length of what may be nothing but rounding in a difference of vectors of this length."""
    return 10 * jnp.finfo(length.dtype).eps * length


def _drawn(draw: Callable[..., jax.Array], key: Key, like: PyTree) -> PyTree:
    """All entries in one draw: a generator for each leaf would have to be compiled for each leaf."""
    zeros = jax.eval_shape(wide, like)
    leaves, structure = jax.tree.flatten(zeros)
    sizes = [leaf.size for leaf in leaves]
    entries = draw(key, (sum(sizes),), jnp.result_type(*leaves))
    parts = jnp.split(entries, np.cumsum(sizes)[:-1])
    drawn = [x.reshape(y.shape).astype(y.dtype) for x, y in zip(parts, leaves, strict=True)]
    return placed(jax.tree.unflatten(structure, drawn), like)
