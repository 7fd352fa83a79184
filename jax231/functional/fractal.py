"""Joins of parallel columns, of which training drops some: FractalNet's drop-path.

Where columns meet, their mean goes on. Training draws which of them count: locally, every join for itself, or globally,
one column for the whole net. The draws are weights, of which every row adds up to 1, one row for the batch or one an
example; a traced rate outside [0, 1] makes them NaN.
"""

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import require, require_rate
from jax231.core.precision import statistics_dtype
from jax231.core.types import Key


def join(
    branches: Sequence[Float[ArrayLike, "n *shape"]], weights: Float[ArrayLike, "m branches"] | None = None
) -> Float[Array, "n *shape"]:
    """The mean of the branches, weighted or not.

    Shapes:  each branch (n, ...), weights (n, branches), or (1, branches) for all examples -> (n, ...), the dtype of
             the first branch; narrow types are summed in float32.
    Raises:  ValueError for branches of different shapes, and for weights that do not fit.
    """
    arrays = [jnp.asarray(branch) for branch in branches]
    shapes = [array.shape for array in arrays]
    require(len(set(shapes)) == 1, "join", "branches of one shape", shapes=shapes)
    dtype, n = arrays[0].dtype, len(arrays[0])
    wide = [array.astype(statistics_dtype(dtype)) for array in arrays]
    if weights is None:
        total = functools.reduce(operator.add, wide) / len(wide)
        return total.astype(dtype)
    fits = jnp.shape(weights) in ((n, len(wide)), (1, len(wide)))
    require(fits, "join", "a weight for each branch of each example", weights=weights, examples=n, branches=len(wide))
    columns = jnp.asarray(weights, wide[0].dtype).T
    apart = (-1, *(1,) * (arrays[0].ndim - 1))
    weighed = [column.reshape(apart) * array for column, array in zip(columns, wide, strict=True)]
    return functools.reduce(operator.add, weighed).astype(dtype)


def local_paths(key: Key, rate: ArrayLike, n: int, branches: int) -> Float[Array, "n branches"]:
    """Weights of a join that drops each branch with probability `rate` and never all of them.

    Those that are left count alike. Where all would fall, one of them, each as likely, stays.

    Raises:  ValueError for a concrete rate outside [0, 1].
    Source:  Larsson et al. 2017 (arXiv:1605.07648), section 3.1.
    """
    rate = _rate("local_paths", rate)
    drawn = jax.random.uniform(key, (n, branches))
    # The largest number is the last to fall below a rate: it belongs to a branch that is kept, or to the one saved.
    kept = (drawn >= rate) | (drawn == drawn.max(1, keepdims=True))
    return _valid(rate, kept / kept.sum(1, keepdims=True))


def global_path(key: Key, rate: ArrayLike, n: int, columns: int) -> Float[Array, "n columns"]:
    """With probability `rate` a column for the whole net, 1 at its place; otherwise zeros, and joins draw locally.

    Raises:  ValueError for a concrete rate outside [0, 1].
    Source:  Larsson et al. 2017 (arXiv:1605.07648), section 3.1.
    """
    rate = _rate("global_path", rate)
    key_whether, key_column = jax.random.split(key)
    whether = jax.random.bernoulli(key_whether, rate, (n, 1))
    column = jax.random.randint(key_column, (n,), 0, columns)
    return _valid(rate, whether * jax.nn.one_hot(column, columns))


def join_weights(local: Float[Array, "m branches"], chosen: Float[Array, "m columns"]) -> Float[Array, "m branches"]:
    """The weights of the join of the deepest columns: all on the chosen column, or the `local` ones where none is.

    Where the chosen column does not pass this join, its branches count alike: nothing of them is read further on.

    Shapes:  local (m, branches) of `local_paths`, chosen (m, columns) of `global_path`; branches are the last columns.
    """
    branches = local.shape[1]
    here = chosen[:, -branches:]
    anywhere = chosen.sum(1, keepdims=True)
    return here + (anywhere - here.sum(1, keepdims=True)) / branches + (1 - anywhere) * local


def _rate(where: str, rate: ArrayLike) -> Array:
    require_rate(where, "rate", rate)
    return jnp.asarray(rate, jnp.float32)


def _valid(rate: Array, weights: Array) -> Array:
    return jnp.where((rate >= 0) & (rate <= 1), weights, jnp.nan)
