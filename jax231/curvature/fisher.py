"""Products with the Fisher information of a classifier, sampled or empirical."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jax231.core.checks import require
from jax231.core.precision import statistics_dtype
from jax231.core.types import Key, PyTree
from jax231.curvature.products import Product, linearized_ggnvp


def fisher_vp(
    logits_fn: Callable[[PyTree], jax.Array], params: PyTree, vector: PyTree, key: Key, *, samples: int = 1
) -> PyTree:
    """The Fisher information of a softmax classifier, labels drawn from the model itself, times `vector`.

    As `linearized_fisher_vp`, for a single product.

    Cost:    about one and a half gradients.
    Raises:  ValueError as `linearized_fisher_vp`.
    """
    return linearized_fisher_vp(logits_fn, params, key, samples=samples)(vector)


def linearized_fisher_vp(
    logits_fn: Callable[[PyTree], jax.Array], params: PyTree, key: Key, *, samples: int = 1
) -> Product:
    """The map ``vector -> F @ vector`` with F the mean of ``g g'`` over predictions and drawn labels.

    g is the gradient of the negative log-probability that the model gives to a label drawn from its own softmax. All
    axes of the logits but the last count predictions. The labels are drawn once, so all products are with one matrix;
    its expectation is the exact Fisher information, which for the mean cross entropy is the matrix of `ggnvp`.

    samples: labels drawn for each prediction.

    Cost:    one gradient once, then each product little more than one.
    Raises:  ValueError for logits without classes or less than one sample.
    Source:  Martens 2020 (arXiv:1412.1193), section 5; Kunstner, Balles and Hennig 2019 (arXiv:1905.12558).
    """
    where = "linearized_fisher_vp"
    require(samples >= 1, where, "at least one sample", samples=samples)

    def negative_log_probabilities(params: PyTree) -> jax.Array:
        logits = logits_fn(params)
        require(logits.ndim >= 1, where, "logits with an axis of classes", logits=logits)
        wide = logits.astype(statistics_dtype(logits.dtype))
        shape = (samples, *wide.shape[:-1])
        labels = jax.random.categorical(key, jax.lax.stop_gradient(wide), axis=-1, shape=shape)
        scores = jnp.broadcast_to(jax.nn.log_softmax(wide), (*shape, wide.shape[-1]))
        return -jnp.take_along_axis(scores, labels[..., None], axis=-1)

    return linearized_empirical_fisher_vp(negative_log_probabilities, params)


def empirical_fisher_vp(losses_fn: Callable[[PyTree], jax.Array], params: PyTree, vector: PyTree) -> PyTree:
    """The empirical Fisher information, the mean of ``g_i g_i'`` over the gradients of all losses, times `vector`.

    `losses_fn` returns one loss an example. As `linearized_empirical_fisher_vp`, for a single product.

    Cost:    about one and a half gradients.
    Raises:  ValueError as `linearized_empirical_fisher_vp`.
    """
    return linearized_empirical_fisher_vp(losses_fn, params)(vector)


def linearized_empirical_fisher_vp(losses_fn: Callable[[PyTree], jax.Array], params: PyTree) -> Product:
    """The map ``vector -> mean of g_i (g_i' vector)`` with the gradient g_i of each of the losses at `params`.

    It is ``J'J / n`` with the Jacobian J of the n losses, so no gradient of an example is ever formed. With the labels
    of the data it is no Fisher information but the second moment of the gradients.

    Shapes:  `losses_fn` returns an array of any shape; each of its entries is an example.
    Cost:    one gradient once, then each product little more than one.
    Raises:  ValueError for parameters that are not floating point numbers.
    Source:  Kunstner, Balles and Hennig 2019 (arXiv:1905.12558), equation 3.
    """
    return linearized_ggnvp(losses_fn, lambda losses: jnp.mean(jnp.square(losses)) / 2, params)[1]
