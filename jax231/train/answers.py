"""What trained parameters answer: one network, the mean of several views of an image, the mean of several networks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.data.preprocess import Stats
from jax231.data.views import Views
from jax231.models import zoo
from jax231.train.feed import preprocessed
from jax231.train.network import Network

Answer = Callable[[PyTree, PyTree, Any], PyTree]
"""``answer(params, state, images)``: the model's outputs for raw images, or scores of the same meaning."""


def plain(network: Network, stats: Stats | None) -> Answer:
    """The outputs of the model for images, which are preprocessed here."""
    prepare = preprocessed(stats)

    def answer(params: PyTree, state: PyTree, images: PyTree) -> PyTree:
        return network.model.apply(params, state, prepare(images), train=False)[0]

    return answer


def viewed(answer: Answer, entry: zoo.Entry, views: Views) -> Answer:
    """The logarithms of the mean over views of the probabilities that `answer` gives.

    Views of one size go through the model as one batch.

    Raises: ValueError for models whose scores are no probabilities, for those of pixels, which views would move, and
            for views of a size that the model or the preprocessing does not take.
    Source: Krizhevsky et al. 2012, section 4.1; Simonyan & Zisserman 2015 (arXiv:1409.1556), section 3.2.
    """
    expected = "a model that gives the probabilities of an image's classes, which views average"
    whole = entry.probabilistic and entry.form == "image" and not entry.of_pixels
    require(whole, "views", expected, model=entry.name)

    def averaged(params: PyTree, state: PyTree, images: Array) -> Float[Array, "n k"]:
        sizes: dict[tuple[int, ...], list[Array]] = {}
        for seen in views(images):
            sizes.setdefault(seen.shape, []).append(seen)
        logs = []
        for same in sizes.values():
            try:
                scores = entry.scores(answer(params, state, jnp.concatenate(same)))
            except (TypeError, ValueError) as error:  # shapes that do not fit
                expected = "a network and a preprocessing that take images of any size"
                other = same[0].shape[1:] != images.shape[1:]
                require(not other, "views", expected, images=same[0].shape[1:], model=entry.name, error=str(error))
                raise
            logs.append(log_probabilities(scores).reshape(len(same), len(images), -1))
        return mean_logs(jnp.concatenate(logs))

    return averaged


def each(answer: Answer, entry: zoo.Entry) -> Answer:
    """What m networks answer alone: m rows of logarithms of probabilities.

    Parameters, model state and, of a recurrent network, its carry have a first axis for the networks, which run one
    after the other.
    """

    def answers(params: PyTree, state: PyTree, inputs: Any) -> PyTree:
        carry, shared = inputs if entry.form == "tokens" else (None, inputs)

        def one(own: tuple[PyTree, PyTree, PyTree]) -> tuple[PyTree, Array]:
            params, state, carry = own
            outputs = answer(params, state, (carry, shared) if entry.form == "tokens" else shared)
            return (outputs[0] if entry.form == "tokens" else None), log_probabilities(entry.scores(outputs))

        carry, logs = jax.lax.map(one, (params, state, carry))
        return (carry, logs) if entry.form == "tokens" else logs

    return answers


def together(answer: Answer, entry: zoo.Entry) -> Answer:
    """What m networks answer alone, and then the first 2, 3, ..., m of them together: 2 m - 1 rows, as `each` has them.

    Source: CS231n lecture 7, model ensembles.
    """
    return _combined(answer, entry, lambda logs: jnp.concatenate([logs, growing(logs)[1:]]))


def averaged(answer: Answer, entry: zoo.Entry) -> Answer:
    """The logarithms of the mean of the probabilities that networks answer with, which `each` has."""
    return _combined(answer, entry, mean_logs)


def _combined(answer: Answer, entry: zoo.Entry, combine: Callable[[Array], Array]) -> Answer:
    every = each(answer, entry)

    def answers(params: PyTree, state: PyTree, inputs: Any) -> PyTree:
        outputs = every(params, state, inputs)
        return (outputs[0], combine(outputs[1])) if entry.form == "tokens" else combine(outputs)

    return answers


def repeated(carry: PyTree, count: int) -> PyTree:
    """A carry for each of `count` networks, with a first axis for them."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), carry)


def log_probabilities(scores: Float[Array, "*batch k"]) -> Float[Array, "*batch k"]:
    """The logarithms of the probabilities of classes, in float32."""
    return jax.nn.log_softmax(scores.astype(jnp.float32))


def mean_logs(logs: Float[Array, "m *batch k"]) -> Float[Array, "*batch k"]:
    """The logarithm of the mean over the first axis of probabilities, given as logarithms."""
    return jax.nn.logsumexp(logs, 0) - jnp.log(logs.shape[0])


def growing(logs: Float[Array, "m *batch k"]) -> Float[Array, "m *batch k"]:
    """`mean_logs` of the first 1, 2, ..., m rows."""
    return jnp.stack([mean_logs(logs[: k + 1]) for k in range(len(logs))])
