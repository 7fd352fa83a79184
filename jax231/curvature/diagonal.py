"""The diagonal of a curvature matrix: exact by blocks of columns, exact through the outputs, or estimated."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.precision import statistics_dtype
from jax231.core.types import Key, PyTree
from jax231.curvature.checked import require_parameters, scalar
from jax231.curvature.estimate import Estimate, running_mean
from jax231.curvature.placement import gathered, placed
from jax231.curvature.products import Product
from jax231.curvature.vectors import rademacher, wide, widened


def diagonal(product: Product, like: PyTree, *, block: int = 32) -> PyTree:
    """The diagonal of a linear map on vectors like the tree `like`, as such a tree in float32 at least.

    Cost:    as many products as there are parameters, `block` of them in memory together.
    Raises:  ValueError if `block` is below 1, for parameters that are not floating point numbers.
    """
    require(block >= 1, "diagonal", "a block of at least one column", block=block)
    require_parameters("diagonal", like)
    apply = widened(product, like)
    flat, unravel = tree.ravel(gathered(tree.zeros_like(wide(like))))

    def entry(place: jax.Array) -> jax.Array:
        column = apply(unravel(jax.nn.one_hot(place, flat.size, dtype=flat.dtype)))
        return tree.ravel(gathered(column))[0][place]

    return unravel(jax.lax.map(entry, jnp.arange(flat.size), batch_size=min(block, flat.size)))


def ggn_diagonal(
    outputs_fn: Callable[[PyTree], PyTree],
    outputs_loss: Callable[[PyTree], jax.Array],
    params: PyTree,
    *,
    block: int = 32,
) -> PyTree:
    """The diagonal of the generalised Gauss-Newton matrix J'HJ: row a of J times row a of HJ, added up over outputs.

    Exact for any loss and model, batch normalisation included, and cheaper than `diagonal` wherever there are fewer
    outputs than parameters. In float32 at least.

    Cost:    two backward passes for each number in the outputs, `block` pairs of them in memory together.
    Raises:  ValueError if `block` is below 1; as `linearized_ggnvp`.
    """
    where = "ggn_diagonal"
    require(block >= 1, where, "a block of at least one output", block=block)
    require_parameters(where, params)
    outputs, forward = jax.linearize(outputs_fn, params)
    backward = jax.linear_transpose(forward, params)
    _, bend = jax.linearize(jax.grad(scalar(where, outputs_loss)), outputs)
    flat, unravel = tree.ravel(gathered(outputs))
    block = min(block, flat.size)
    places = jnp.arange(-(-flat.size // block) * block).reshape(-1, block)

    def rows(place: jax.Array) -> PyTree:
        one = placed(unravel(jax.nn.one_hot(place, flat.size, dtype=flat.dtype)), outputs)  # zero beyond the last
        return jax.tree.map(_wide_product, backward(one)[0], backward(bend(one))[0])

    def add(total: PyTree, some: jax.Array) -> tuple[PyTree, None]:
        return jax.tree.map(lambda x, y: x + y.sum(0), total, jax.vmap(rows)(some)), None

    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(rows, places[0, 0]))
    return jax.lax.scan(add, zeros, places)[0]


def hutchinson_diagonal(product: Product, like: PyTree, key: Key, *, probes: int = 32) -> Estimate:
    """An unbiased estimate of the diagonal: the mean of ``v * (A @ v)`` over random signs v.

    The variance of entry i is the sum of the squares of the other entries of its row, over `probes`.

    Shapes:  value and error are trees like `like`, in float32 at least.
    Cost:    `probes` products; memory does not depend on their number.
    Raises:  ValueError for less than one probe, for parameters that are not floating point numbers.
    Source:  Bekas, Kokiopoulou and Saad 2007, equation 5, whose denominator is the number of probes for signs.
    """
    require(probes >= 1, "hutchinson_diagonal", "at least one probe", probes=probes)
    require_parameters("hutchinson_diagonal", like)
    apply = widened(product, like)

    def sample(key: Key) -> PyTree:
        probe = rademacher(key, like)
        return jax.tree.map(jnp.multiply, probe, apply(probe))

    return running_mean(sample, jax.random.split(key, probes))


def _wide_product(x: jax.Array, y: jax.Array) -> jax.Array:
    dtype = statistics_dtype(x.dtype)
    return x.astype(dtype) * y.astype(dtype)
