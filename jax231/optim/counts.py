"""What an optimizer used: evaluations of the objective and its derivatives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


class Counts(NamedTuple):
    """Evaluations so far; a value with its gradient counts as one gradient.

    `loss` values alone; `gradient` gradients, the one handed to ``update`` included; `hvp` Hessian-vector products with
    the linearization they share counted as a gradient; `hessian` dense Hessians with their factorization; `ggnvp`
    products with the generalised Gauss-Newton matrix or the Fisher information, their linearization a gradient too.
    """

    loss: Int[Array, ""]
    gradient: Int[Array, ""]
    hvp: Int[Array, ""]
    hessian: Int[Array, ""]
    ggnvp: Int[Array, ""]

    def plus(
        self,
        loss: jax.Array | int = 0,
        gradient: jax.Array | int = 0,
        hvp: jax.Array | int = 0,
        hessian: jax.Array | int = 0,
        ggnvp: jax.Array | int = 0,
    ) -> "Counts":
        """These counts with the given numbers of evaluations added."""
        more = (loss, gradient, hvp, hessian, ggnvp)
        return Counts(*(used + added for used, added in zip(self, more, strict=True)))


def none() -> Counts:
    """No evaluations yet; an array for each, since one that stands twice in a state cannot be donated."""
    return Counts(*(jnp.zeros((), jnp.int32) for _ in Counts._fields))
