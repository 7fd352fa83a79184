"""Penalties and constraints on chosen leaves of a tree of parameters, and the objective they belong to.

`select` chooses the leaves: a glob or a predicate on names such as ``"conv1/kernel"``. Left out, it is every leaf with
two or more axes: kernels and weight matrices, but no biases and no scales of normalisation.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.precision import statistics_dtype
from jax231.core.types import PyTree, Scalar

Select = str | Callable[[str], bool] | None
"""A glob (``"*/kernel"``) or a predicate on the names of leaves; None for every leaf with two or more axes."""


def l2(params: PyTree, *, select: Select = None) -> Float[Array, ""]:
    """The sum of squares of the chosen weights, ``R(W) = sum W**2``: without the 1/2, so its gradient is 2 W.

    Shapes:    a tree -> (), in float32 for bfloat16 and float16 leaves.
    Raises:    ValueError where `select` chooses no leaf.
    Source:    CS231n, lecture 3.
    """
    return _total("l2", jnp.square, params, select)


def l1(params: PyTree, *, select: Select = None) -> Float[Array, ""]:
    """The sum of absolute values of the chosen weights.

    Shapes:    a tree -> (), in float32 for bfloat16 and float16 leaves.
    Gradient:  the sign, 0 at 0.
    Raises:    ValueError where `select` chooses no leaf.
    Source:    CS231n, lecture 3.
    """
    return _total("l1", _magnitude, params, select)


def elastic_net(params: PyTree, beta: Scalar = 1.0, *, select: Select = None) -> Float[Array, ""]:
    """Both penalties, ``sum of beta * W**2 + |W|`` over the chosen weights.

    Shapes:    a tree -> (), in float32 for bfloat16 and float16 leaves.
    Gradient:  that of |W| is 0 at 0.
    Raises:    ValueError where `select` chooses no leaf.
    Source:    Zou and Hastie 2005; CS231n, lecture 3.
    """
    return _total("elastic_net", lambda w: beta * jnp.square(w) + _magnitude(w), params, select)


def max_norm(params: PyTree, limit: Scalar, *, select: Select = None) -> PyTree:
    """Project the parameters: shorten every unit's incoming weight vector to a Euclidean norm of at most `limit`.

    Units are the last axis, as in affine (d, units) and convolution (kh, kw, cin, cout). To be applied after each
    update; leaves that are not chosen come back as they are.

    Shapes:    a tree -> the same tree, shapes and dtypes.
    Gradient:  the identity within the limit and on it.
    Raises:    ValueError where `select` chooses no leaf.
    Source:    CS231n notes, neural-networks-2; Srebro et al. 2005.
    """
    chosen = _chosen("max_norm", params, select)

    def project(path: tuple, leaf: ArrayLike) -> ArrayLike:
        if tree.name(path) not in chosen:
            return leaf
        w = jnp.asarray(leaf)
        wide = w.astype(statistics_dtype(w.dtype))
        square = jnp.square(wide).sum(range(w.ndim - 1), keepdims=True)
        beyond = square > jnp.square(limit)
        factor = jnp.where(beyond, limit * jax.lax.rsqrt(jnp.where(beyond, square, 1)), 1)
        return (wide * factor).astype(w.dtype)

    return jax.tree_util.tree_map_with_path(project, params)


def objective(
    data_loss: Float[ArrayLike, "..."],
    params: PyTree,
    strength: Scalar,
    regularizer: Callable[[PyTree], Array] = l2,
) -> Float[Array, ""]:
    """The objective of the course, ``L = (1/n) sum_i L_i + strength * R(W)``, from the losses of the examples.

    >>> import jax.numpy as jnp
    >>> params = {"weight": jnp.array([[1.0, -2.0]]), "bias": jnp.array([5.0])}
    >>> losses = jnp.array([0.5, 1.5])
    >>> print(objective(losses, params, 0.1))  # 1 + 0.1 * (1 + 4): biases are not regularized
    1.5
    >>> print(objective(losses, params, 0.1, l1))
    1.3
    >>> from functools import partial
    >>> print(objective(losses, params, 0.1, partial(l2, select="*")))
    4.0

    Shapes:    data_loss (n,), or () where it is a mean already -> ().
    """
    return jnp.mean(jnp.asarray(data_loss)) + strength * regularizer(params)


def _magnitude(w: Array) -> Array:
    return w * jnp.sign(w)  # jnp.abs has derivative 1 at 0


def _total(where: str, penalty: Callable[[Array], Array], params: PyTree, select: Select) -> Array:
    weights = (jnp.asarray(leaf) for leaf in _chosen(where, params, select).values())
    return sum((penalty(w.astype(statistics_dtype(w.dtype))).sum() for w in weights), start=jnp.zeros(()))


def _chosen(where: str, params: PyTree, select: Select) -> dict[str, ArrayLike]:
    """The chosen leaves by name."""
    leaves = {tree.name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    if select is None:
        chosen = {name: leaf for name, leaf in leaves.items() if jnp.ndim(leaf) >= 2}
    else:
        matches = select if callable(select) else lambda name: fnmatchcase(name, select)
        chosen = {name: leaf for name, leaf in leaves.items() if matches(name)}
    asked = "a leaf with two or more axes" if select is None else "select to choose a leaf"
    require(bool(chosen), where, asked, select=select, leaves=list(leaves))
    return chosen
