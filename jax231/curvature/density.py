"""The spectrum of a curvature matrix as a density, by stochastic Lanczos quadrature."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.checks import is_concrete, require
from jax231.core.types import Key, PyTree, Scalar
from jax231.curvature import estimate
from jax231.curvature.estimate import Estimate
from jax231.curvature.lanczos import lanczos
from jax231.curvature.products import Product
from jax231.curvature.vectors import narrow, rademacher


class Quadrature(NamedTuple):
    """One quadrature rule a probe for means over the eigenvalues; the weights of each rule add up to 1."""

    nodes: Float[Array, "probes m"]
    """Ascending; the outermost are close to the outermost eigenvalues."""
    weights: Float[Array, "probes m"]


class Density(NamedTuple):
    """A smoothed density of eigenvalues on a grid, of integral 1, with its standard error over the probes."""

    grid: Float[Array, " g"]
    values: Float[Array, " g"]
    errors: Float[Array, " g"]


def lanczos_quadrature(product: Product, like: PyTree, key: Key, *, probes: int = 8, steps: int = 32) -> Quadrature:
    """Gauss rules for the spectral measures of a symmetric operator at random signs.

    Each is exact for polynomials of degree below 2 * `steps`; the measure's expectation is the distribution of the
    eigenvalues.

    Cost:    `probes` * `steps` products, one after the other, and the `steps` vectors of one basis.
    Raises:  ValueError for less than one probe or step, for parameters that are not floating point numbers.
    Source:  Golub and Welsch 1969; Lin, Saad and Yang 2016 (arXiv:1308.5467), section 3.2.
    """
    require(probes >= 1 and steps >= 1, "lanczos_quadrature", "at least one probe and step", probes=probes, steps=steps)

    def rule(key: Key) -> tuple[jax.Array, jax.Array]:
        key_start, key_rest = jax.random.split(key)
        found = lanczos(product, narrow(rademacher(key_start, like), like), key_rest, steps=steps)
        nodes, vectors = jnp.linalg.eigh(found.matrix)
        return nodes, jnp.square(vectors[0])

    return Quadrature(*jax.lax.map(rule, jax.random.split(key, probes)))


def spectral_mean(quadrature: Quadrature, fun: Callable[[jax.Array], jax.Array]) -> Estimate:
    """The mean of `fun` over the eigenvalues, the trace of ``fun(A) / n``, with its standard error over the probes.

    ``jnp.log`` gives the logarithm of the determinant, ``lambda x: x < 0`` the share of negative eigenvalues.

    Shapes:  `fun` maps nodes (m,) to (m, ...) -> value and error (...).
    Source:  Ubaru, Chen and Saad 2017, algorithm 1, for the trace of ``fun(A)``.
    """

    def mean(nodes: jax.Array, weights: jax.Array) -> jax.Array:
        return jnp.tensordot(weights, fun(nodes).astype(weights.dtype), axes=1, precision=jax.lax.Precision.HIGHEST)

    return estimate.mean(jax.vmap(mean)(quadrature.nodes, quadrature.weights))


def density(quadrature: Quadrature, *, points: int = 512, width: Scalar = 0.01) -> Density:
    """The distribution of the eigenvalues, each smoothed to a normal density, on an even grid over all nodes.

    width: standard deviation of the smoothing as a share of the range of the nodes; finer than ``1 / points`` it falls
        between the points of the grid.

    Raises:  ValueError for less than two points, a width that is not positive where it can be seen.
    Source:  Ghorbani, Krishnan and Xiao 2019 (arXiv:1901.10159), section 2.
    """
    require(points >= 2, "density", "at least two points", points=points)
    if is_concrete(width):
        require(bool(width > 0), "density", "a positive width", width=width)
    low, high = quadrature.nodes.min(), quadrature.nodes.max()
    scale = jnp.maximum(high - low, jnp.maximum(jnp.abs(low), jnp.abs(high)) * 1e-3)
    scale = width * jnp.where(scale > 0, scale, 1)  # of one eigenvalue alone, and of none but zero
    grid = jnp.linspace(low - 5 * scale, high + 5 * scale, points)

    def smoothed(nodes: jax.Array) -> jax.Array:
        return jax.scipy.stats.norm.pdf(grid, nodes[:, None], scale)

    return Density(grid, *spectral_mean(quadrature, smoothed))
