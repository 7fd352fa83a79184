"""The natural gradient: steepest descent where distance is how much the model's predictions change."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.curvature.products import linearized_ggnvp
from jax231.optim import counts
from jax231.optim.arguments import required
from jax231.optim.flat import flatten
from jax231.optim.linesearch import backtracking
from jax231.optim.newton_cg import truncated_cg

Product = Callable[[Float[Array, " n"]], Float[Array, " n"]]


class NaturalGradientState(NamedTuple):
    """What was used, the CG iterations of the last step, and whether its line search failed."""

    counts: counts.Counts
    cg_iterations: Int[Array, ""]
    stalled: Bool[Array, ""]


def natural_gradient(damping: Scalar = 1e-3, *, cg_limit: int = 50) -> optax.GradientTransformationExtraArgs:
    """The natural gradient: CG on (F + lambda I) p = -gradient, then backtracking until the loss falls.

    `update` needs ``value``, ``grad``, ``value_fn``, ``outputs_fn`` and ``outputs_loss``. F is the Fisher information
    of the model's own predictions, and equals the generalised Gauss-Newton matrix where the outputs are the natural
    parameters of the distribution whose negative log-likelihood the loss is: logits with cross entropy, softmax or
    binary, means with the squared error (of variance 1/2 where the square is not halved). In other cases the step is
    that of Gauss-Newton with constant damping.

    damping: lambda >= 0, traced; cg_limit: at most so many CG iterations a step.

    Cost:    5 copies of the parameters; a step takes two gradients (one of them to linearize) and some ggnvps.
    Raises:  ValueError if damping is negative where it can be seen, or `cg_limit` is below 1.
    Source:  Amari 1998; Pascanu & Bengio 2013 for the equality; Martens 2014 (arXiv:1412.1193), section 9.2.
    """

    def product(point: Float[Array, " n"], unravel: Callable, extra: dict[str, Any]) -> Product:
        outputs_fn, outputs_loss = extra["outputs_fn"], extra["outputs_loss"]
        return linearized_ggnvp(lambda x: outputs_fn(unravel(x)), outputs_loss, point)[1]

    return _natural("natural_gradient", ("outputs_fn", "outputs_loss"), product, damping, cg_limit)


def empirical_natural_gradient(damping: Scalar = 1e-3, *, cg_limit: int = 50) -> optax.GradientTransformationExtraArgs:
    """`natural_gradient` with the empirical Fisher information, the mean of g g' over the gradients g of the examples.

    `update` needs ``value``, ``grad``, ``value_fn`` and ``per_example_fn``, with the loss of each example, ``params ->
    (n,)``. This matrix takes the labels that were seen for the model's own: it vanishes with the gradients where the
    fit is perfect, and is no approximation of curvature far from it. It is here for comparison.

    Cost:    as `natural_gradient`; the gradients of the examples are never formed.
    Raises:  as `natural_gradient`.
    Source:  Kunstner, Balles & Hennig 2019 (arXiv:1905.12558), for what it lacks.
    """

    def product(point: Float[Array, " n"], unravel: Callable, extra: dict[str, Any]) -> Product:
        losses, forward = jax.linearize(lambda x: extra["per_example_fn"](unravel(x)), point)
        require(losses.ndim == 1, "empirical_natural_gradient", "one loss an example (n,)", losses=losses)
        backward = jax.linear_transpose(forward, point)
        return lambda vector: backward(forward(vector) / losses.size)[0]

    return _natural("empirical_natural_gradient", ("per_example_fn",), product, damping, cg_limit)


def _natural(
    where: str, needs: tuple[str, ...], linearized: Callable[..., Product], damping: Scalar, cg_limit: int
) -> optax.GradientTransformationExtraArgs:
    require(cg_limit >= 1, where, "at least one CG iteration", cg_limit=cg_limit)
    require_nonnegative(where, damping=damping)

    def init(params: PyTree) -> NaturalGradientState:
        del params
        return NaturalGradientState(counts.none(), jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        required(where, extra, "value", "grad", "value_fn", *needs)
        fun, point, value, gradient, unravel = flatten(where, params, extra)
        fisher = linearized(point, unravel, extra)
        shift = jnp.asarray(damping, point.dtype)
        length = tree.norm(gradient)
        tolerance = jnp.minimum(0.5, jnp.sqrt(length)) * length
        solved = truncated_cg(lambda v: fisher(v) + shift * v, -gradient, tolerance, cg_limit)
        found = backtracking(fun, point, solved.solution, value, gradient)
        moved = found.step > 0
        used = state.counts.plus(loss=found.evaluations, gradient=2, ggnvp=solved.products)
        step = jnp.where(moved, found.step * solved.solution, 0)
        return unravel(step), NaturalGradientState(used, solved.products, ~moved)

    return optax.GradientTransformationExtraArgs(init, update)
