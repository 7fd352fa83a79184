"""Losses: one value an example, so that the caller decides on means, weights and padding.

All are formed and returned in float32 for bfloat16 and float16 inputs. A label out of range is a ValueError where its
value can be seen while tracing and makes the loss of its example NaN where it cannot.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jax231.core.checks import is_concrete, require, require_labels, require_rank, require_rate
from jax231.core.precision import statistics_dtype
from jax231.core.types import Scalar


def multiclass_hinge(
    scores: Float[ArrayLike, "*batch k"], labels: ArrayLike, margin: Scalar = 1.0
) -> Float[Array, "*batch"]:
    """The multiclass SVM loss, ``sum over j != y of max(0, s_j - s_y + margin)``.

    Shapes:    scores (..., k), integer labels (...) -> (...).
    Gradient:  0 at the kink, where a wrong class is exactly at the margin.
    Raises:    ValueError for one-hot or other non-integer labels, for labels of another shape or out of range.
    Source:    Weston and Watkins 1999; CS231n notes, linear-classify.
    """
    return _violations("multiclass_hinge", scores, labels, margin).sum(-1)


def squared_hinge(
    scores: Float[ArrayLike, "*batch k"], labels: ArrayLike, margin: Scalar = 1.0
) -> Float[Array, "*batch"]:
    """The L2-SVM, ``sum over j != y of max(0, s_j - s_y + margin) ** 2``: once continuously differentiable.

    Shapes:    scores (..., k), integer labels (...) -> (...).
    Gradient:  continuous; the second derivative is 0 at the kink.
    Raises:    ValueError as `multiclass_hinge`.
    Source:    CS231n notes, linear-classify.
    """
    return jnp.square(_violations("squared_hinge", scores, labels, margin)).sum(-1)


def softmax_cross_entropy(
    logits: Float[ArrayLike, "*batch k"], labels: ArrayLike, *, smoothing: Scalar = 0.0
) -> Float[Array, "*batch"]:
    """The negative log-probability of the label under the softmax, ``-log(exp(s_y) / sum_j exp(s_j))``.

    With label `smoothing` the target is ``(1 - smoothing) * one_hot + smoothing / k``. Stable for logits of any size.

    Shapes:    logits (..., k), integer labels (...) -> (...).
    Units:     nats.
    Gradient:  ``softmax(logits) - target``.
    Raises:    ValueError for one-hot or other non-integer labels, for labels of another shape or out of range, for a
               smoothing outside [0, 1].
    Source:    CS231n notes, linear-classify; Szegedy et al. 2016 (arXiv:1512.00567), section 7.
    """
    where = "softmax_cross_entropy"
    require_rate(where, "smoothing", smoothing)
    logits = _wide(logits)
    _require_classes(where, logits, labels)
    shifted, log_total = _shifted(logits)
    loss = log_total - _at_label(shifted, labels)
    if is_concrete(smoothing) and np.asarray(smoothing) == 0:
        return loss  # not 0 * mean: a logit of -inf rules a class out and must not make NaN
    return (1 - smoothing) * loss + smoothing * (log_total - shifted.mean(-1))


def auxiliary_cross_entropy(
    outputs: Float[ArrayLike, "*batch k"] | tuple[Float[ArrayLike, "*batch k"], ...],
    labels: ArrayLike,
    weight: Scalar = 0.3,
) -> Float[Array, "*batch"]:
    """The cross entropy of the scores, and `weight` times that of each auxiliary head's.

    `outputs` are a tuple of scores, those of the net first, as GoogLeNet returns in training, or scores alone, as it
    returns in evaluation: then this is `softmax_cross_entropy`.

    Shapes:    logits (..., k), all alike, integer labels (...) -> (...).
    Units:     nats; with two heads and scores that are all alike 1.6 log k.
    Raises:    ValueError as `softmax_cross_entropy`.
    Source:    Szegedy et al. 2015 (arXiv:1409.4842), section 5.
    """
    main, *heads = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = softmax_cross_entropy(main, labels)
    return loss + weight * sum(softmax_cross_entropy(head, labels) for head in heads) if heads else loss


def sequence_cross_entropy(
    logits: Float[ArrayLike, "..."], labels: ArrayLike, mask: ArrayLike | None = None
) -> Float[Array, "n"]:
    """The cross entropy of every sequence: the mean over its own steps where `mask` is true.

    Every sequence counts alike, long or short; weight by the number of steps for the mean over all tokens. A sequence
    without any step has loss 0. What stands in logits and labels at masked steps has no influence, not even NaN.

    Shapes:    logits (n, t, v), integer labels (n, t), boolean mask (n, t) -> (n,).
    Units:     nats a step.
    Raises:    ValueError for shapes that do not fit, labels that are not integers or out of range, a mask not boolean.
    """
    where = "sequence_cross_entropy"
    require_rank(where, 3, "n t v", logits=logits)
    if mask is None:
        mask = jnp.ones(jnp.shape(logits)[:-1], bool)
    require(jnp.result_type(mask) == jnp.bool_, where, "a mask of booleans, true for steps that count", mask=mask)
    return _mean_where(where, mask, logits, labels)


def caption_cross_entropy(logits: Float[ArrayLike, "..."], labels: ArrayLike, *, null: int = 0) -> Float[Array, "n"]:
    """`sequence_cross_entropy` over the words of every caption: steps labelled `null`, which fill it up, do not count.

    Shapes:    logits (n, t, v), integer labels (n, t) -> (n,).
    Units:     nats a word.
    Raises:    ValueError as `sequence_cross_entropy`.
    Source:    CS231n, assignment 3.
    """
    return sequence_cross_entropy(logits, labels, jnp.asarray(labels) != null)


def pixelwise_cross_entropy(
    logits: Float[ArrayLike, "..."], labels: ArrayLike, *, ignore: int | None = None
) -> Float[Array, "n"]:
    """The cross entropy of every image: the mean over its pixels, those labelled `ignore` left out.

    `ignore` is the label of void pixels, often 255. An image of void pixels only has loss 0.

    Shapes:    logits (n, h, w, k), integer labels (n, h, w) -> (n,).
    Units:     nats a pixel.
    Raises:    ValueError for shapes that do not fit, labels that are not integers or out of range.
    """
    where = "pixelwise_cross_entropy"
    require_rank(where, 4, "n h w k", logits=logits)
    counted = jnp.ones(jnp.shape(labels), bool) if ignore is None else jnp.asarray(labels) != ignore
    return _mean_where(where, counted, logits, labels)


def mean_squared_error(predictions: Float[ArrayLike, "n *shape"], targets: ArrayLike) -> Float[Array, "n"]:
    """The squared error of every example, the mean over all its entries.

    Shapes:    predictions (n, ...), targets the same -> (n,).
    Raises:    ValueError for targets of another shape: (n,) against (n, 1) would broadcast to (n, n).
    """
    same = jnp.shape(predictions) == jnp.shape(targets) and jnp.ndim(predictions) >= 1
    require(same, "mean_squared_error", "both of one shape (n, ...)", predictions=predictions, targets=targets)
    error = _wide(predictions) - jnp.asarray(targets)
    return _mean_of_example(jnp.square(error))


def binary_cross_entropy(logits: Float[ArrayLike, "n *shape"], labels: ArrayLike) -> Float[Array, "n"]:
    """The negative log-likelihood of labels in [0, 1] under ``sigmoid(logits)``, the mean over an example's entries.

    Stable for logits of any size. Labels are 0 or 1, or the probability of 1.

    Shapes:    logits (n, ...), labels the same -> (n,).
    Units:     nats an entry.
    Gradient:  ``sigmoid(logits) - labels``, divided by the number of entries.
    Raises:    ValueError for labels of another shape, and outside [0, 1] where they can be seen (else NaN).
    """
    where = "binary_cross_entropy"
    same = jnp.shape(logits) == jnp.shape(labels) and jnp.ndim(logits) >= 1
    require(same, where, "both of one shape (n, ...)", logits=logits, labels=labels)
    require_rate(where, "labels", labels)
    logits, labels = _wide(logits), jnp.asarray(labels)
    # two terms rather than softplus(z) - y z, which loses the digits of a small loss to cancellation
    loss = labels * jax.nn.softplus(-logits) + (1 - labels) * jax.nn.softplus(logits)
    return _mean_of_example(jnp.where((labels >= 0) & (labels <= 1), loss, jnp.nan))


def _violations(where: str, scores: ArrayLike, labels: ArrayLike, margin: Scalar) -> Array:
    """By how much each wrong class comes closer to the label's score than the margin; 0 for the label itself."""
    scores = _wide(scores)
    _require_classes(where, scores, labels)
    excess = scores - _at_label(scores, labels)[..., None] + margin
    return jnp.where(_is_label(scores, labels) | (excess <= 0), 0, excess)  # not excess > 0: NaN must come through


def _mean_where(where: str, mask: ArrayLike, logits: ArrayLike, labels: ArrayLike) -> Array:
    """Mean cross entropy of each example where `mask` holds, 0 where it holds nowhere."""
    logits, mask = _wide(logits), jnp.asarray(mask)
    fits = jnp.shape(labels) == logits.shape[:-1] == mask.shape
    require(
        fits,
        where,
        "labels and mask of the shape of logits without the last axis",
        logits=logits,
        labels=labels,
        mask=mask,
    )
    labels = jnp.where(mask, labels, 0)
    logits = jnp.where(mask[..., None], logits, 0)  # so that NaN there reaches neither the value nor the gradient
    _require_classes(where, logits, labels)
    shifted, log_total = _shifted(logits)
    losses = jnp.where(mask, log_total - _at_label(shifted, labels), 0)
    axes = tuple(range(1, mask.ndim))
    return losses.sum(axes) / jnp.maximum(mask.sum(axes), 1)


def _mean_of_example(values: Array) -> Array:
    return values.mean(tuple(range(1, values.ndim)))


def _is_label(scores: Array, labels: ArrayLike) -> Array:
    return jnp.arange(scores.shape[-1]) == jnp.asarray(labels)[..., None]


def _shifted(logits: Array) -> tuple[Array, Array]:
    """The logits less the largest of their row, and the logarithm of the sum of their exponentials.

    Apart, not as log-probabilities: those would be one more array, and with it the time that the exponentials take.
    """
    largest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    shifted = logits - jnp.where(jnp.isfinite(largest), largest, 0)
    return shifted, jnp.log(jnp.exp(shifted).sum(-1))


def _at_label(scores: Array, labels: ArrayLike) -> Array:
    """The entry of each row of scores at its label, NaN for a label out of range.

    A gather: twice as fast as a masked sum on the CPU with 10 classes or 50,000, its gradient too.
    """
    places = jnp.asarray(labels)[..., None]
    places = jnp.where(places < 0, scores.shape[-1], places)  # which no label may count from the end
    return jnp.take_along_axis(scores, places, -1, mode="fill", fill_value=jnp.nan)[..., 0]


def _require_classes(where: str, scores: Array, labels: ArrayLike) -> None:
    fits = scores.ndim >= 1 and jnp.shape(labels) == scores.shape[:-1]
    require(fits, where, "one class index an example (not one-hot)", scores=scores, labels=labels)
    require_labels(where, labels, scores.shape[-1])


def _wide(x: ArrayLike) -> Array:
    return jnp.asarray(x, statistics_dtype(jnp.result_type(x)))
