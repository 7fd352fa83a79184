"""The order in which an epoch takes its examples: a function of the seed and the epoch, so that it can be had again."""

import jax
from jaxtyping import Array, Int

from jax231.core.checks import require
from jax231.core.types import Scalar


def order(seed: Scalar, epoch: Scalar, count: int) -> Int[Array, "count"]:
    """A permutation of `count` examples; seed and epoch may be traced."""
    return jax.random.permutation(jax.random.fold_in(jax.random.key(seed), epoch), count)


def epoch_steps(count: int, batch: int) -> int:
    """Whole batches in `count` examples; in training the last partial one is left out.

    Raises: ValueError for a batch that is empty or larger than all examples.
    """
    require(1 <= batch <= count, "epoch_steps", f"a batch within [1, {count}]", batch=batch)
    return count // batch
