"""The loss along a line and over a plane through the parameters, for pictures of its landscape."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax231.core import tree
from jax231.core.checks import require, require_rank
from jax231.core.types import Key, PyTree
from jax231.curvature.checked import require_alike, require_parameters
from jax231.curvature.filters import filter_normalized
from jax231.curvature.vectors import normal


def random_direction(key: Key, params: PyTree) -> PyTree:
    """A random direction with filters as long as those of `params`; leaves without filters stand still.

    Raises:  ValueError for parameters that are not floating point numbers.
    Source:  Li et al. 2018 (arXiv:1712.09913), section 4.
    """
    require_parameters("random_direction", params)
    return filter_normalized(normal(key, params), params)


def loss_line(
    fun: Callable[[PyTree], PyTree], params: PyTree, direction: PyTree, at: ArrayLike, *, block: int = 1
) -> PyTree:
    """``fun(params + t * direction)`` for every t in `at`; between two solutions the direction is their difference.

    `fun` may return any tree of arrays, as loss and accuracy together.

    Shapes:  at (m,) -> every leaf (m, ...).
    Cost:    m evaluations, `block` of them in memory together.
    Raises:  ValueError where `at` has not one axis, for a block below 1, a direction unlike the parameters, for
             parameters that are not floating point numbers.
    """
    require_parameters("loss_line", params)
    require_alike("loss_line", params, direction=direction)
    require_rank("loss_line", 1, "m", at=at)
    require(block >= 1, "loss_line", "a block of at least one point", block=block)
    at = jnp.asarray(at)
    return jax.lax.map(lambda t: fun(tree.axpy(t, direction, params)), at, batch_size=min(block, at.size))


def loss_plane(
    fun: Callable[[PyTree], PyTree],
    params: PyTree,
    directions: tuple[PyTree, PyTree],
    at: tuple[ArrayLike, ArrayLike],
    *,
    block: int = 1,
) -> PyTree:
    """``fun(params + s * directions[0] + t * directions[1])`` for every s in ``at[0]`` and t in ``at[1]``.

    Shapes:  at (m,) and (k,) -> every leaf (m, k, ...).
    Cost:    m * k evaluations, `block` of them in memory together.
    Raises:  ValueError as `loss_line`.
    """
    first, second = at
    require_parameters("loss_plane", params)
    require_alike("loss_plane", params, first=directions[0], second=directions[1])
    require_rank("loss_plane", 1, "m", first=first, second=second)

    def row(s: jax.Array) -> PyTree:
        return loss_line(fun, tree.axpy(s, directions[0], params), directions[1], second, block=block)

    return jax.lax.map(row, jnp.asarray(first))
