"""How good predictions are: figures to report, not to descend on.

Every one takes a `weight` of the labels' shape, 0 for padding; a mean over no example is NaN. Computed and returned in
float32 for bfloat16 and float16 inputs.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num

from jax231.core.checks import require, require_labels
from jax231.core.precision import statistics_dtype


def accuracy(scores: ArrayLike, labels: ArrayLike, *, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """The share of examples whose highest score is that of the label; the first of equal scores is the highest.

    A label whose score is NaN, or which is traced and out of range, is a miss.

    Shapes:  scores (..., k), integer labels (...) -> ().
    Raises:  ValueError for one-hot or other non-integer labels, for labels of another shape or out of range.
    """
    return _mean("accuracy", _rank("accuracy", scores, labels) == 0, weight)


def top_k_accuracy(
    scores: ArrayLike, labels: ArrayLike, k: int, *, weight: ArrayLike | None = None
) -> Float[Array, ""]:
    """The share of examples whose label is among the `k` highest scores; of equal scores the first are higher.

    Shapes:  scores (..., classes), integer labels (...) -> ().
    Raises:  ValueError as `accuracy`, and for k outside [1, classes].
    """
    rank = _rank("top_k_accuracy", scores, labels)
    fits = 1 <= k <= np.shape(scores)[-1]
    require(fits, "top_k_accuracy", "k within [1, number of classes]", k=k, scores=scores)
    return _mean("top_k_accuracy", rank < k, weight)


def confusion_matrix(
    predictions: ArrayLike, labels: ArrayLike, classes: int, *, weight: ArrayLike | None = None
) -> Num[Array, "classes classes"]:
    """How often each true class (row) was predicted as each class (column).

    Shapes:  integer predictions (...), labels (...) -> (classes, classes); int32 counts, or sums of `weight`.
    Raises:  ValueError for another shape, another type or, where it can be seen, a class outside [0, classes); traced
             examples outside it are not counted.
    """
    where = "confusion_matrix"
    require(classes >= 1, where, "at least one class", classes=classes)
    _require_same_shape(where, predictions=predictions, labels=labels, weight=weight)
    require_labels(where, predictions, classes, "predictions")
    require_labels(where, labels, classes)
    predictions, labels = jnp.asarray(predictions), jnp.asarray(labels)
    inside = (predictions >= 0) & (predictions < classes) & (labels >= 0) & (labels < classes)
    count = jnp.ones(labels.shape, jnp.int32) if weight is None else jnp.asarray(weight)
    count = count.astype(jnp.int32) if count.dtype == bool else count
    cell = jnp.where(inside, labels.astype(jnp.int32) * classes + predictions, classes**2)
    sums = jax.ops.segment_sum(count.ravel(), cell.ravel(), classes**2 + 1)
    return sums[:-1].reshape(classes, classes)


def mean_iou(
    predictions: ArrayLike, labels: ArrayLike, classes: int, *, weight: ArrayLike | None = None
) -> Float[Array, ""]:
    """Intersection over union of predicted and true area, averaged over the classes.

    A class that neither was predicted nor is true anywhere has no union and is left out of the mean.

    Shapes:  integer predictions (...), labels (...), pixels mostly -> ().
    Raises:  ValueError as `confusion_matrix`.
    Source:  Long, Shelhamer and Darrell 2015 (arXiv:1411.4038), section 5.
    """
    matrix = confusion_matrix(predictions, labels, classes, weight=weight)
    matrix = matrix.astype(statistics_dtype(matrix.dtype))
    both = jnp.diagonal(matrix)
    either = matrix.sum(0) + matrix.sum(1) - both
    present = either > 0
    return _mean("mean_iou", jnp.where(present, both / jnp.where(present, either, 1), 0), present)


def perplexity(nats: ArrayLike, *, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """``exp`` of the mean loss: as unsure as a fair choice among that many tokens.

    Shapes:  losses in nats (...), one a token, or their mean () -> ().
    Raises:  ValueError for a weight of another shape.
    """
    nats = jnp.asarray(nats)
    return jnp.exp(_mean("perplexity", nats, weight))


def _rank(where: str, scores: ArrayLike, labels: ArrayLike) -> Array:
    """How many classes are ahead of the label: higher, NaN, or equal and earlier (`lax.top_k` puts 0 before -0)."""
    scores, given = jnp.asarray(scores), labels
    labels = jnp.asarray(labels)
    require(scores.ndim >= 1, where, "scores with an axis of classes", scores=scores)
    expected = "one integer label an example, the shape of scores without its last axis"
    require(labels.shape == scores.shape[:-1], where, expected, scores=scores, labels=labels)
    classes = scores.shape[-1]
    require_labels(where, given, classes)
    own = jnp.take_along_axis(scores, labels[..., None], axis=-1)
    earlier = jnp.arange(classes) < labels[..., None]
    ahead = ~(scores <= own) | ((scores == own) & earlier)
    return jnp.where((labels >= 0) & (labels < classes), ahead.sum(-1), classes)


def _require_same_shape(where: str, **arrays: ArrayLike | None) -> None:
    given = {name: jnp.asarray(x) for name, x in arrays.items() if x is not None}
    require(len({x.shape for x in given.values()}) == 1, where, "arrays of one shape", **given)


def _mean(where: str, values: Array, weight: ArrayLike | None) -> Array:
    wide = statistics_dtype(values.dtype)
    if weight is None:
        return values.mean(dtype=wide)
    _require_same_shape(where, values=values, weight=weight)
    weight = jnp.asarray(weight).astype(wide)
    counted = weight != 0  # what stands in the padding may be NaN
    return (jnp.where(counted, values, 0) * weight).sum() / weight.sum()
