"""Shampoo: full-matrix AdaGrad with one small matrix for each axis of a parameter in the place of the large one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative, require_positive, require_rate
from jax231.core.types import PyTree
from jax231.optim.axes import inverse_root, second_moment, shaped, times
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.root import divide_by_root


class ShampooState(NamedTuple):
    """Steps so far; for every parameter the second moments of its axes, the inverse roots of these, and its squares.

    `square` is None without grafting.
    """

    step: Int[Array, ""]
    moments: PyTree
    roots: PyTree
    square: PyTree


def shampoo(
    rate: optax.ScalarOrSchedule,
    b1: jax.Array | float = 0.9,
    b2: jax.Array | float = 0.99,
    eps: jax.Array | float = 1e-6,
    *,
    every: int = 10,
    largest: int = 1024,
    grafting: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Steps along the mean of ``g x_1 H_1^(-1/2k) x_2 ... x_k H_k^(-1/2k)`` for a parameter of k axes.

    H_i is ``eps I`` plus the second moment of the gradients along axis i: their bias-corrected running mean with b2
    below 1, their sum with ``b2=1``. Each matrix is taken to the power -1/2k, so for a vector this is AdaGrad with the
    full matrix, and for a matrix ``L^(-1/4) G R^(-1/4)``. The paper's algorithm is ``shampoo(rate, 0, 1, every=1,
    grafting=False)``.

    b1: of the running mean of the steps, bias-corrected.
    eps: in the units of squared gradients.
    every: steps between roots. In its first `every` steps they are taken in each, since roots of few gradients
        magnify all other directions.
    largest: an axis longer than this keeps the diagonal of its matrix only, as in the paper's experiments.
    grafting: whether each parameter's step gets the length that it has with one entry a number, that is RMSProp's, or
        with ``b2=1`` AdaGrad's, both with eps inside of the root. Then rates are those of Adam.

    Cost:      2 d^2 numbers for each axis of d entries beside the mean of the steps; an eigendecomposition of each
               matrix in every `every`-th step.
    Raises:    ValueError if `rate` is not positive, b1 or b2 outside [0, 1], `eps` negative where they can be seen; for
               `every` below 1 or a negative `largest`.
    Source:    Gupta, Koren & Singer 2018 (arXiv:1802.09568), algorithm 2; Anil et al. 2020 (arXiv:2002.09018), section
               4.2 for roots that are kept and appendix G for grafting.
    """
    where = "shampoo"
    require_positive(where, rate=rate)
    require_nonnegative(where, eps=eps)
    require_rate(where, "b1", b1)
    require_rate(where, "b2", b2)
    require(every >= 1, where, "at least one step between roots", every=every)
    require(largest >= 0, where, "a largest axis of at least 0", largest=largest)

    def moments(x: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(second_moment(x, axis, x.shape[axis] <= largest) for axis in range(x.ndim))

    def init(params: PyTree) -> ShampooState:
        def zeros() -> PyTree:
            return jax.tree.map(lambda x: moments(jnp.zeros_like(shaped(x))), params)

        square = tree.zeros_like(params) if grafting else None
        return ShampooState(jnp.zeros((), jnp.int32), zeros(), zeros(), square)

    def update(updates: PyTree, state: Any, params: PyTree = None):
        del params
        step = state.step + 1
        summed = jnp.asarray(b2) >= 1
        gain = jnp.where(summed, 1, 1 - b2)
        whole = jnp.where(summed, 1, 1 - b2**step)  # the sum of the weights of a running mean

        def gained(old: jax.Array, new: jax.Array) -> jax.Array:
            return (b2 * old + gain * new).astype(old.dtype)

        latest = jax.tree.map(lambda g: moments(shaped(g)), updates)
        kept = jax.tree.map(gained, state.moments, latest)
        roots = jax.lax.cond(
            (state.step % every == 0) | (state.step < every),
            lambda: jax.tree.map(lambda _, of_axes: _roots(of_axes, whole, eps), updates, kept),
            lambda: state.roots,
        )
        found = jax.tree.map(_preconditioned, updates, roots)
        square = state.square
        if grafting:
            square = jax.tree.map(lambda s, g: gained(s, g * g), square, updates)
            lengths = jax.tree.map(lambda g, s: divide_by_root(g, s / whole, eps, 0.0), updates, square)
            found = jax.tree.map(_of_length, found, lengths)
        return found, ShampooState(step, kept, roots, square)

    precondition = optax.GradientTransformation(init, update)
    return keep_dtypes(optax.chain(precondition, optax.ema(b1), optax.scale_by_learning_rate(rate)))


def _roots(moments: tuple[jax.Array, ...], whole: jax.Array, eps: jax.Array | float) -> tuple[jax.Array, ...]:
    return tuple(inverse_root(m / whole, eps, 2 * len(moments)).astype(m.dtype) for m in moments)


def _preconditioned(gradient: jax.Array, roots: tuple[jax.Array, ...]) -> jax.Array:
    found = shaped(gradient)
    for axis, root in enumerate(roots):
        found = times(found, root, axis)
    return found.reshape(gradient.shape)


def _of_length(direction: jax.Array, like: jax.Array) -> jax.Array:
    """`direction` with the norm of `like`, 0 where it is 0."""
    norm = tree.norm(direction)
    return direction * jnp.where(norm > 0, tree.norm(like) / jnp.where(norm > 0, norm, 1), 0)
