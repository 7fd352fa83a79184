"""The gradient of every example by itself."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.curvature.batches import examples
from jax231.curvature.checked import require_parameters, scalar
from jax231.curvature.placement import gathered


def per_example_gradients(
    loss: Callable[[PyTree, PyTree], jax.Array],
    params: PyTree,
    data: PyTree,
    *,
    group: int = 1,
    block: int | None = None,
) -> PyTree:
    """The gradient of ``loss(params, batch)`` on each example, a batch of one, as a stack of trees like `params`.

    Batch normalisation in training has no gradient of an example, since examples meet in its statistics: each group is
    normalised by itself, which is another function, so the mean is not the gradient of the batch.

    group: examples a gradient, neighbours in the data: the noise scale may be measured between batches of any size.
    block: gradients formed together; all of them where it is None.

    Shapes:  every array in data (n, ...) -> every leaf (n / group, ...).
    Cost:    about one gradient over all data, and as many copies of the parameters as there are groups.
    Raises:  ValueError for arrays of different length, a group that does not divide it, a block below 1; where `loss`
             does not return one real number, for parameters that are not floating point numbers.
    """
    where = "per_example_gradients"
    require_parameters(where, params)
    count = examples(where, data)
    require(group >= 1 and count % group == 0, where, "a group size that divides the examples",
            group=group, examples=count)  # fmt: skip
    require(block is None or block >= 1, where, "a block of at least one gradient", block=block)
    groups = count // group
    batches = jax.tree.map(lambda x: jnp.reshape(x, (groups, group, *jnp.shape(x)[1:])), data)
    gradient = jax.grad(scalar(where, loss))
    if block is None or block >= groups:
        return jax.vmap(gradient, (None, 0))(params, batches)
    return jax.lax.map(lambda batch: gradient(params, batch), gathered(batches), batch_size=block)
