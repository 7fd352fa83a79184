"""The maxout layer."""

from flax import nnx
from jaxtyping import Array, Float

from jax231.functional import activations
from jax231.functional.initializers import Initializer, he
from jax231.nn.affine import Affine
from jax231.nn.layer import Layer


class Maxout(Layer):
    """An affine map followed by a maximum over `pieces` candidates for every unit, `activations.maxout`."""

    def __init__(self, fan_in: int, units: int, pieces: int, *, kernel_init: Initializer = he(), rngs: nnx.Rngs):
        self.pieces = pieces
        self.affine = Affine(fan_in, units * pieces, kernel_init=kernel_init, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch fan_in"]) -> Float[Array, "*batch units"]:
        """The largest candidate of every unit."""
        return activations.maxout(self.affine(x), self.pieces)
