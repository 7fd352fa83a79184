"""Distances between examples, and the classifier that asks the nearest ones."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from jax231.core.checks import require, require_rank
from jax231.core.precision import statistics_dtype
from jax231.kernels.neighbors import absolute_differences, block_size, nearest, over_blocks, squared_distances

METRICS = ("l1", "l2")


def distances(a: ArrayLike, b: ArrayLike, metric: str = "l2") -> Float[Array, "n m"]:
    """The distance of every example of `a` to every example of `b`, formed block by block.

    "l1" is the sum of absolute differences, "l2" the Euclidean distance, by way of ``|a|^2 + |b|^2 - 2 a.b`` and so at
    the speed of a matrix product, after moving the origin into the middle of the examples. Squares below their own
    rounding error, ``eps * sqrt(d) * (|a|^2 + |b|^2)``, cannot be told from 0 and come out as 0: with 3,072 features in
    float32 these are points nearer to each other than 0.4 % of their distance to the middle. Small integers are exact.

    Shapes:    (n, d), (m, d) -> (n, m); formed in float32 for bfloat16, float16 and integers.
    Gradient:  0 at equal points and, for "l1", at equal features. A derivative is bounded in memory as the value is.
    Cost:      n * m * d multiply-adds; temporaries of `TEMPORARY` entries.
    Raises:    ValueError for other ranks, another number of features or an unknown metric.
    Source:    CS231n notes, classification.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    _require_examples("distances", metric, a=a, b=b)
    tile, dtype = _tile(metric, a, b), jnp.result_type(a, b)
    values = _in_tiles(tile, a, b, block_size(metric, a.shape[1]))
    return values.astype(dtype) if jnp.issubdtype(dtype, jnp.floating) else values


def knn_predict(
    train_x: ArrayLike, train_y: ArrayLike, x: ArrayLike, k: int, metric: str = "l2"
) -> Integer[Array, " q"]:
    """The label that most of the `k` nearest training examples carry.

    Equal votes go to the smaller label, equal distances to the earlier example. A training example with a NaN is
    nobody's neighbour. Blocks of training examples pass by while each query keeps its k nearest, so the matrix of all
    distances is never there.

    Shapes:    train_x (n, d), train_y (n,), x (q, d) -> (q,) in the dtype of `train_y`; any integers are labels.
    Cost:      that of `distances`, and a partial sort of each of its rows; temporaries of `TEMPORARY` entries.
    Raises:    ValueError for other ranks, another number of features, an unknown metric, labels that are not one
               integer an example, k outside [1, n].
    Source:    CS231n notes, classification.
    """
    where = "knn_predict"
    train_x, train_y, x = jnp.asarray(train_x), jnp.asarray(train_y), jnp.asarray(x)
    _require_examples(where, metric, train_x=train_x, x=x)
    labelled = jnp.issubdtype(train_y.dtype, jnp.integer) and train_y.shape == train_x.shape[:1]
    require(labelled, where, "one label of an integer type a training example", train_x=train_x, train_y=train_y)
    require(1 <= k <= len(train_x), where, "k within [1, number of training examples]", k=k, train_x=train_x)

    wide = statistics_dtype(train_x.dtype, x.dtype)
    middle = _middle(x, train_x, wide) if metric == "l2" else jnp.zeros(x.shape[1], wide)
    return _majority(train_y[nearest(train_x, x, middle, k=k, metric=metric)])


def _require_examples(where: str, metric: str, **arrays: Array) -> None:
    require_rank(where, 2, "n d", **arrays)
    features = {x.shape[1] for x in arrays.values()}
    require(len(features) == 1, where, "examples with the same number of features", **arrays)
    require(metric in METRICS, where, f"a metric among {', '.join(METRICS)}", metric=metric)


def _tile(metric: str, a: Array, b: Array) -> Callable[[Array, Array], Array]:
    """The distances between a few of the examples `a` and a few of `b`, all at once."""
    wide = statistics_dtype(a.dtype, b.dtype)
    if metric == "l1":
        return lambda some, others: absolute_differences(some.astype(wide), others.astype(wide))
    middle = _middle(a, b, wide)

    def euclidean(some: Array, others: Array) -> Array:
        square = squared_distances(some.astype(wide) - middle, others.astype(wide) - middle)
        equal = square == 0
        return jnp.where(equal, 0, jnp.sqrt(jnp.where(equal, 1, square)))

    return euclidean


def _middle(a: Array, b: Array, wide: jnp.dtype) -> Array:
    """An origin near all examples, for distances do not see it but rounding does; 0 where an example is not finite.

    It is a multiple of the power of two that spans the examples, so that what is subtracted keeps integers integers.
    """
    a, b = lax.stop_gradient((a, b))
    mean = jnp.mean(b, axis=0, dtype=wide)
    spread = jnp.maximum(jnp.abs(a - mean).max(initial=0), jnp.abs(b - mean).max(initial=0))
    unit = jnp.ldexp(jnp.ones((), wide), jnp.frexp(spread)[1])
    middle = jnp.round(mean / unit) * unit
    return jnp.where(jnp.isfinite(middle), middle, 0)


def _in_tiles(tile: Callable[[Array, Array], Array], a: Array, b: Array, side: int) -> Array:
    if len(a) <= side and len(b) <= side:
        return tile(a, b)
    tile = jax.checkpoint(tile)  # a derivative makes a tile again rather than keep the temporaries of all

    def row(out: Array, i: Array, _: Array, some: Array) -> Array:
        def cell(out: Array, j: Array, _: Array, others: Array) -> Array:
            return lax.dynamic_update_slice(out, tile(some, others), (i, j))

        return over_blocks(cell, out, b, side)

    shape = jax.eval_shape(tile, a[:1], b[:1])
    return over_blocks(row, jnp.zeros((len(a), len(b)), shape.dtype), a, side)


def _majority(labels: Array) -> Array:
    """The most frequent entry of each row, the smallest of equally frequent ones."""
    labels = jnp.sort(labels, axis=1)
    place = jnp.arange(labels.shape[1])
    begins = labels != jnp.roll(labels, 1, axis=1)
    length = place - lax.cummax(jnp.where(begins, place, 0), axis=1)
    return jnp.take_along_axis(labels, length.argmax(1, keepdims=True), axis=1)[:, 0]
