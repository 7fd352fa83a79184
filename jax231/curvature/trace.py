"""The trace of a curvature matrix from products with random vectors."""

import jax

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import Key, PyTree
from jax231.curvature import estimate
from jax231.curvature.checked import require_parameters
from jax231.curvature.estimate import Estimate
from jax231.curvature.products import Product
from jax231.curvature.vectors import orthogonal_part, orthonormal, rademacher, widened


def hutchinson_trace(product: Product, like: PyTree, key: Key, *, probes: int = 32, block: int = 8) -> Estimate:
    """An unbiased estimate of the trace: the mean of ``v' A v`` over random signs v, with its standard error.

    The variance is twice the sum of the squares of all entries off the diagonal of a symmetric A, over `probes`.

    Cost:    `probes` products, `block` of them in memory together.
    Raises:  ValueError for less than one probe or a block below 1, for parameters that are not floating point numbers.
    Source:  Hutchinson 1990.
    """
    _require_probes("hutchinson_trace", like, probes, block)
    apply = widened(product, like)

    def sample(key: Key) -> jax.Array:
        probe = rademacher(key, like)
        return tree.dot(probe, apply(probe))

    return estimate.mean(jax.lax.map(sample, jax.random.split(key, probes), batch_size=min(block, probes)))


def hutch_plus_plus(product: Product, like: PyTree, key: Key, *, probes: int = 8, block: int = 8) -> Estimate:
    """A better estimate of the trace where few eigenvalues dominate, as in networks.

    The trace on the span of A times `probes` random vectors is computed, only that on its complement is estimated. For
    positive semidefinite matrices the error falls as 1 / products rather than as one over its root. The standard error
    is that of the estimated part; where nothing is left to estimate both are 0 up to rounding.

    Cost:    3 * `probes` products, `block` of them in memory together, and 2 * `probes` vectors.
    Raises:  ValueError for less than one probe or a block below 1, for parameters that are not floating point numbers.
    Source:  Meyer, Musco, Musco and Woodruff 2021 (arXiv:2010.09649), algorithm 1.
    """
    _require_probes("hutch_plus_plus", like, probes, block)
    apply = widened(product, like)
    block = min(block, probes)
    key_span, key_rest = jax.random.split(key)

    def image(key: Key) -> PyTree:
        return apply(rademacher(key, like))

    def form(vector: PyTree) -> jax.Array:
        return tree.dot(vector, apply(vector))

    def rest(key: Key) -> jax.Array:
        return form(orthogonal_part(rademacher(key, like), basis))

    basis = orthonormal(jax.lax.map(image, jax.random.split(key_span, probes), batch_size=block))
    inside = jax.lax.map(form, basis, batch_size=block).sum()
    outside = estimate.mean(jax.lax.map(rest, jax.random.split(key_rest, probes), batch_size=block))
    return Estimate(inside + outside.value, outside.error)


def _require_probes(where: str, like: PyTree, probes: int, block: int) -> None:
    require_parameters(where, like)
    require(
        probes >= 1 and block >= 1, where, "at least one probe, in blocks of one or more", probes=probes, block=block
    )
