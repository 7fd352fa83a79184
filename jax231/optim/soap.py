"""SOAP: Adam in the basis of the eigenvectors of Shampoo's matrices."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative, require_positive, require_rate
from jax231.core.types import PyTree
from jax231.optim.axes import second_moment, times
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.root import divide_by_root

Matrices = dict[str, jax.Array]
"""A matrix for each axis that has one, by the place of the axis, ``"0"``."""


class SoapState(NamedTuple):
    """Steps so far; for every parameter the moments of Adam, and for its axes second moments and their eigenvectors.

    The first moment is that of the gradient itself, the second that of the gradient in the basis.
    """

    step: Int[Array, ""]
    first: PyTree
    second: PyTree
    moments: PyTree
    bases: PyTree


def soap(
    rate: optax.ScalarOrSchedule,
    b1: jax.Array | float = 0.95,
    b2: jax.Array | float = 0.95,
    eps: jax.Array | float = 1e-8,
    *,
    every: int = 10,
    largest: int = 1024,
) -> optax.GradientTransformationExtraArgs:
    """Adam's steps for the gradient in the basis of the eigenvectors of its axes' second moments, turned back.

    The second moments, ``G G'`` and ``G' G`` of a matrix and one for each axis of a tensor, are running means of decay
    b2. A basis is followed by one step of the power method and a QR decomposition, sorted by what the moment has along
    it. Vectors and scalars, and parameters of long axes only, get Adam.

    The first gradient of a parameter that has a basis makes it, by eigenvectors, and moves nothing: in the basis of its
    own it has entries of nothing but rounding, which Adam would scale up to steps. A refresh comes after the step, as
    in the authors' code.

    every: steps between refreshes of the basis. largest: an axis longer than this keeps the identity as its basis.

    Cost:      2 d^2 numbers for each axis of d entries beside the two moments; a step takes two products with each
               basis, a refresh a product and a QR decomposition of each.
    Raises:    ValueError if `rate` is not positive, b1 or b2 outside [0, 1], `eps` negative where they can be seen; for
               `every` below 1 or a negative `largest`.
    Source:    Vyas et al. 2024 (arXiv:2409.11321), algorithms 3 and 4.
    """
    where = "soap"
    require_positive(where, rate=rate)
    require_nonnegative(where, eps=eps)
    require_rate(where, "b1", b1)
    require_rate(where, "b2", b2)
    require(every >= 1, where, "at least one step between refreshes", every=every)
    require(largest >= 0, where, "a largest axis of at least 0", largest=largest)

    def moments(x: jax.Array) -> Matrices:
        axes = [axis for axis in range(x.ndim) if x.ndim > 1 and x.shape[axis] <= largest]
        return {str(axis): second_moment(x, axis, True) for axis in axes}

    def init(params: PyTree) -> SoapState:
        zeros = jax.tree.map(lambda x: moments(jnp.zeros_like(x)), params)
        identities = jax.tree.map(lambda m: jnp.eye(len(m), dtype=m.dtype), zeros)
        return SoapState(jnp.zeros((), jnp.int32), tree.zeros_like(params), tree.zeros_like(params), zeros, identities)

    def update(updates: PyTree, state: Any, params: PyTree = None):
        del params
        step = state.step + 1
        begins = state.step == 0

        def mixed(decay, old: jax.Array, new: jax.Array) -> jax.Array:
            return (decay * old + (1 - decay) * new).astype(old.dtype)

        def adam(gradient: jax.Array, first: jax.Array, second: jax.Array, bases: Matrices):
            taken = step - 1 if bases else step  # gradients in the moments
            still = begins if bases else jnp.zeros((), bool)
            first = jnp.where(still, first, mixed(b1, first, gradient))
            second = jnp.where(still, second, mixed(b2, second, jnp.square(_turned(gradient, bases))))
            whole = [jnp.where(still, 1, 1 - decay**taken) for decay in (b1, b2)]
            normalised = divide_by_root(_turned(first, bases) / whole[0], second / whole[1], 0.0, eps)
            return jnp.where(still, 0, _turned_back(normalised, bases)), first, second

        leaves, structure = jax.tree.flatten(updates)
        first, second, old, bases = map(structure.flatten_up_to, state[1:])
        of_leaves = [adam(*of_leaf) for of_leaf in zip(leaves, first, second, bases, strict=True)]
        steps, first, second = ([found[i] for found in of_leaves] for i in range(3))
        latest = [jax.tree.map(partial(mixed, b2), m, moments(g)) for g, m in zip(leaves, old, strict=True)]

        def started():
            return second, [{axis: _eigenvectors(m) for axis, m in of_axes.items()} for of_axes in latest]

        def refreshed():
            found = [_refreshed(*of_leaf) for of_leaf in zip(second, latest, bases, strict=True)]
            return [v for v, _ in found], [basis for _, basis in found]

        kind = jnp.where(begins, 1, jnp.where(state.step % every == 0, 2, 0))
        second, bases = jax.lax.switch(kind, (lambda: (second, bases), started, refreshed))
        new = SoapState(step, *map(structure.unflatten, (first, second, latest, bases)))
        return structure.unflatten(steps), new

    turned_adam = optax.GradientTransformation(init, update)
    return keep_dtypes(optax.chain(turned_adam, optax.scale_by_learning_rate(rate)))


def _turned(x: jax.Array, bases: Matrices) -> jax.Array:
    """`x` in the coordinates of the bases."""
    for axis, basis in bases.items():
        x = times(x, basis, int(axis))
    return x


def _turned_back(x: jax.Array, bases: Matrices) -> jax.Array:
    return _turned(x, {axis: basis.T for axis, basis in bases.items()})


def _eigenvectors(moment: jax.Array) -> jax.Array:
    """Those of the largest eigenvalues first, as the power method keeps them."""
    return jnp.linalg.eigh(moment)[1][:, ::-1]


def _refreshed(second: jax.Array, moments: Matrices, bases: Matrices) -> tuple[jax.Array, Matrices]:
    """The bases one step of the power method later, and the second moment of Adam in their order."""
    new = {}
    for axis, basis in bases.items():
        image = jnp.matmul(moments[axis], basis, precision="highest")
        order = jnp.argsort(-jnp.sum(basis * image, 0))
        second = jnp.take(second, order, int(axis))
        new[axis] = jnp.linalg.qr(image[:, order])[0]
    return second, new
