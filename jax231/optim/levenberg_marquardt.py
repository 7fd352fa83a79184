"""Levenberg and Marquardt's method: least squares by linearized residuals, damped as far as the last step asks for."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.optim import counts
from jax231.optim.arguments import required
from jax231.optim.flat import flatten, ravel
from jax231.optim.linesearch import rounding


class LevenbergMarquardtState(NamedTuple):
    """What was used, the damping of the next step and its factor after a failure, scales, and the last model.

    `scale` holds the largest norm of each column of the Jacobian so far; `ratio` is the decrease of the loss over the
    one that the last model promised; `stalled` tells that no damping gave a decrease.
    """

    counts: counts.Counts
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    scale: Float[Array, " n"]
    ratio: Float[Array, ""]
    tries: Int[Array, ""]
    stalled: Bool[Array, ""]


class _Try(NamedTuple):
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    step: Float[Array, " n"]
    ratio: Float[Array, ""]
    accepted: Bool[Array, ""]
    tries: Int[Array, ""]


def damped_least_squares(
    factor: Float[Array, "k n_plus_1"], scale: Float[Array, " n"], damping: Float[Array, ""]
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """The minimizer p of ``|r + J p|^2 + damping |D p|^2``, D = diag(scale), and half the decrease of ``|r + J p|^2``.

    factor:  the triangle of a QR factorization of [J r], which serves every damping. The condition number of J is not
             squared, as it would be by J'J.
    Source:  Moré 1978, section 3 and equation 2.8 for the decrease, a sum of positive terms.
    """
    size = scale.size
    rows = jnp.pad(jnp.diag(jnp.sqrt(damping) * scale), ((0, 0), (0, 1)))
    triangle = jnp.linalg.qr(jnp.concatenate([factor, rows]), mode="r")
    step = -jax.scipy.linalg.solve_triangular(triangle[:size, :size], triangle[:size, size])
    image, scaled = factor[:, :size] @ step, scale * step
    return step, tree.dot(image, image) / 2 + damping * tree.dot(scaled, scaled)


def levenberg_marquardt(
    damping: Scalar = 1e-3, *, block: int = 32, limit: int = 20
) -> optax.GradientTransformationExtraArgs:
    """Least squares: each step minimizes ``|r + J p|^2 + lambda |D p|^2``, with lambda raised until the loss falls.

    `update` needs ``value``, ``grad``, ``value_fn`` and ``outputs_fn``, whose outputs (any pytree) are the residuals r:
    the loss is any multiple of the sum of their squares. D holds the largest norm of each column of the Jacobian so
    far, so the units of the parameters do not matter. lambda follows Nielsen's rule: a step that was accepted with the
    reduction ratio rho multiplies it by max(1/3, 1 - (2 rho - 1)^3), failures by 2, 4, 8, ...

    damping: lambda >= 0 of the first step, traced. block: columns of the Jacobian formed together. limit: at most so
    many trials a step.

    Cost:    the m x n Jacobian, counted as n ggnvps, and 2 m n^2 multiplications a step; 4 n^3 and a loss a trial. For
             small n; `gauss_newton` has no matrix.
    Raises:  ValueError if damping is negative where it can be seen, or block or limit below 1.
    Source:  Levenberg 1944; Marquardt 1963; Moré 1978 for D; Nielsen 1999 (IMM-REP-1999-05) for lambda.
    """
    where = "levenberg_marquardt"
    require(block >= 1, where, "a block of at least one column", block=block)
    require(limit >= 1, where, "at least one trial a step", limit=limit)
    require_nonnegative(where, damping=damping)

    def init(params: PyTree) -> LevenbergMarquardtState:
        flat, _ = ravel(params)
        number, zero = jnp.zeros((), flat.dtype), jnp.zeros((), jnp.int32)
        first = jnp.asarray(damping, flat.dtype)
        return LevenbergMarquardtState(
            counts.none(), first, number + 2, jnp.zeros_like(flat), number, zero, jnp.zeros((), bool)
        )

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        *_, outputs_fn = required(where, extra, "value", "grad", "value_fn", "outputs_fn")
        fun, point, value, gradient, unravel = flatten(where, params, extra)
        residual, forward = jax.linearize(lambda x: ravel(outputs_fn(unravel(x)))[0].astype(x.dtype), point)
        columns = jax.lax.map(forward, jnp.eye(point.size, dtype=point.dtype), batch_size=min(block, point.size))
        scale = jnp.maximum(state.scale, jnp.sqrt(jnp.sum(columns**2, 1)))
        weights = jnp.where(scale > 0, scale, 1)
        factor = jnp.linalg.qr(jnp.concatenate([columns.T, residual[:, None]], 1), mode="r")
        square = tree.dot(residual, residual)
        multiple = 2 * value / jnp.where(square > 0, square, 1)  # the loss is multiple * |r|^2 / 2
        slack = rounding(value)

        def going(last: _Try) -> Bool[Array, ""]:
            return ~last.accepted & (last.tries < limit)

        def attempt(last: _Try) -> _Try:
            step, half = damped_least_squares(factor, weights, last.damping)
            promised = multiple * half
            trial = fun(point + step)
            accepted = (trial <= value - 1e-4 * promised + slack) & (tree.dot(gradient, step) < 0)
            ratio = (value - trial) / jnp.where(promised > 0, promised, 1)
            better = last.damping * jnp.maximum(1 / 3, 1 - (2 * jnp.clip(ratio, 0, 1) - 1) ** 3)
            worse = jnp.maximum(last.growth * last.damping, jnp.sqrt(jnp.finfo(point.dtype).eps))
            return _Try(
                jnp.where(accepted, better, worse),
                jnp.where(accepted, 2, 2 * last.growth),
                step,
                ratio,
                accepted,
                last.tries + 1,
            )

        zero = jnp.zeros((), jnp.int32)
        first = _Try(state.damping, state.growth, jnp.zeros_like(point), state.ratio, jnp.zeros((), bool), zero)
        last = jax.lax.while_loop(going, attempt, first)
        used = state.counts.plus(loss=last.tries, gradient=2, ggnvp=point.size)
        return unravel(jnp.where(last.accepted, last.step, 0)), LevenbergMarquardtState(
            used, last.damping, last.growth, scale, last.ratio, last.tries, ~last.accepted
        )

    return optax.GradientTransformationExtraArgs(init, update)
