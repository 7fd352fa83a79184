"""Bounds, ``lower <= x <= upper`` entry by entry: the projection on them, and what they leave of a gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax231.core.checks import is_concrete, require
from jax231.core.types import PyTree


class Bounds(NamedTuple):
    """The least and the largest value of every entry, as trees like the parameters whose leaves broadcast to theirs."""

    lower: PyTree
    upper: PyTree


def bounds_like(where: str, bounds: Any, params: PyTree) -> Bounds:
    """The pair `bounds` as trees in the types of `params`, each of the two a number for all entries or a tree.

    -inf and inf leave a side open. Types narrower than a bound's round it.

    Raises: ValueError for anything but a pair, for a tree of another structure, a leaf that does not broadcast to its
        parameters, or (where it can be seen) a lower bound that is not at most the upper one.
    """
    pair = isinstance(bounds, tuple | list) and len(bounds) == 2
    require(pair, where, "bounds as a pair (lower, upper)", bounds=bounds)
    structure = jax.tree.structure(params)

    def full(name: str, bound: Any) -> PyTree:
        if jax.tree.structure(bound) == jax.tree.structure(0) != structure and np.ndim(bound) == 0:
            bound = jax.tree.map(lambda _: bound, params)
        alike = jax.tree.structure(bound) == structure
        require(alike, where, "bounds that are numbers, or trees of the parameters' structure", **{name: bound})

        def leaf(x: Any, like: Any) -> jax.Array:
            x, shape = jnp.asarray(x, like.dtype), jnp.shape(like)
            fits = x.ndim <= len(shape) and all(a in (1, b) for a, b in zip(x.shape[::-1], shape[::-1], strict=False))
            require(fits, where, "bounds that broadcast to their parameters", **{name: x}, parameters=like)
            return x

        return jax.tree.map(leaf, bound, params)

    whole = Bounds(full("lower", bounds[0]), full("upper", bounds[1]))
    for lower, upper in zip(*map(jax.tree.leaves, whole), strict=True):
        if is_concrete(lower) and is_concrete(upper):
            ordered = bool(np.all(np.asarray(lower) <= np.asarray(upper)))
            require(ordered, where, "lower bounds of at most the upper ones", lower=lower, upper=upper)
    return whole


def clip(x: PyTree, bounds: Bounds) -> PyTree:
    """The nearest point within `bounds`."""
    return jax.tree.map(jnp.clip, x, *bounds)


def projected_gradient(x: PyTree, grad: PyTree, bounds: Bounds) -> PyTree:
    """``x - clip(x - grad)``: zero exactly where a point within `bounds` satisfies the first-order conditions.

    A gradient that is not finite stays as it is.

    Source: Byrd, Lu, Nocedal & Zhu 1995 (SIAM J. Sci. Comput. 16), equation 6.1.
    """

    def leaf(x, grad, lower, upper):
        return jnp.where(jnp.isfinite(grad), x - jnp.clip(x - grad, lower, upper), grad)

    return jax.tree.map(leaf, x, grad, *bounds)


def land(x: PyTree, update: PyTree, bounds: Bounds) -> PyTree:
    """``x + update`` within `bounds`, and exactly on a bound that it misses by no more than rounding."""

    def leaf(x, update, lower, upper):
        new = jnp.clip((x + update).astype(x.dtype), lower, upper)
        slack = jnp.finfo(x.dtype).eps * jnp.abs(update)
        return jnp.where(new - lower <= slack, lower, jnp.where(upper - new <= slack, upper, new))

    return jax.tree.map(leaf, x, update, *bounds)
