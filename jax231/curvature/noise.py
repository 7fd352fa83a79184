"""How noisy a gradient is: the batch size beyond which a larger batch brings little."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core import tree
from jax231.core.checks import is_concrete, require
from jax231.core.types import PyTree, Scalar
from jax231.curvature.batches import examples
from jax231.curvature.vectors import wide


class NoiseScale(NamedTuple):
    """The simple noise scale and the two unbiased estimates that it is the ratio of.

    A single measurement of the ratio is noisy and biased: over a run, average `variance` and `square` apart.
    """

    scale: Float[Array, ""]
    """In examples; infinite where `square` is not positive, since the gradient cannot be told from the noise."""
    variance: Float[Array, ""]
    """Of one example's gradient, added up over all parameters: the trace of its covariance."""
    square: Float[Array, ""]
    """The squared length of the true gradient."""


def noise_scale(gradients: PyTree, *, group: int = 1) -> NoiseScale:
    """The simple noise scale from a stack of gradients, each the mean over `group` examples of its own.

    Shapes:  every leaf (m, ...) for m gradients.
    Raises:  ValueError for less than two gradients, for leaves that differ in their number.
    Source:  McCandlish et al. 2018 (arXiv:1812.06162), equation 2.9 and appendix A.1.
    """
    count = examples("noise_scale", gradients)
    require(count >= 2, "noise_scale", "at least two gradients", gradients=count)
    gradients = wide(gradients)
    small = tree.dot(gradients, gradients) / count
    mean = jax.tree.map(lambda x: x.mean(0), gradients)
    return noise_scale_from_squares(small, tree.dot(mean, mean), group, count * group)


def noise_scale_from_squares(
    small_square: Float[Array, ""], large_square: Float[Array, ""], small: Scalar, large: Scalar
) -> NoiseScale:
    """The simple noise scale from the squared lengths of gradients over batches of `small` and of `large` examples.

    Averages of either over several batches serve as well, as those of the devices before and after they are combined.

    Raises:  ValueError for a large batch that is not larger than the small one, where both can be seen.
    Source:  McCandlish et al. 2018 (arXiv:1812.06162), equations A.2 and A.3.
    """
    if is_concrete(small) and is_concrete(large):
        require(bool(0 < small < large), "noise_scale_from_squares", "0 < small < large", small=small, large=large)
    variance = (small_square - large_square) / (1 / small - 1 / large)
    square = (large * large_square - small * small_square) / (large - small)
    positive = square > 0
    return NoiseScale(jnp.where(positive, variance / jnp.where(positive, square, 1), jnp.inf), variance, square)
