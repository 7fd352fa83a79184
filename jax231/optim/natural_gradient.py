"""The natural gradient: steepest descent where distance is how much the model's predictions change."""

from typing import Any

import jax
import optax

from jax231.core.checks import require
from jax231.core.types import Scalar
from jax231.curvature.products import linearized_ggnvp
from jax231.optim.flat import Flat
from jax231.optim.truncated_newton import Product, truncated_newton


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

    def product(flat: Flat, extra: dict[str, Any]) -> Product:
        outputs_fn, outputs_loss = extra["outputs_fn"], extra["outputs_loss"]
        return linearized_ggnvp(lambda x: outputs_fn(flat.unravel(x)), outputs_loss, flat.point)[1]

    needs = "outputs_fn", "outputs_loss"
    return truncated_newton("natural_gradient", damping, cg_limit, product, counted="ggnvp", needs=needs)


def empirical_natural_gradient(damping: Scalar = 1e-3, *, cg_limit: int = 50) -> optax.GradientTransformationExtraArgs:
    """`natural_gradient` with the empirical Fisher information, the mean of g g' over the gradients g of the examples.

    `update` needs ``value``, ``grad``, ``value_fn`` and ``per_example_fn``, with the loss of each example, ``params ->
    (n,)``. This matrix takes the labels that were seen for the model's own: it vanishes with the gradients where the
    fit is perfect, and is no approximation of curvature far from it. It is here for comparison.

    Cost:    as `natural_gradient`; the gradients of the examples are never formed.
    Raises:  as `natural_gradient`.
    Source:  Kunstner, Balles & Hennig 2019 (arXiv:1905.12558), for what it lacks.
    """

    where = "empirical_natural_gradient"

    def product(flat: Flat, extra: dict[str, Any]) -> Product:
        losses, forward = jax.linearize(lambda x: extra["per_example_fn"](flat.unravel(x)), flat.point)
        require(losses.ndim == 1, where, "one loss an example (n,)", losses=losses)
        backward = jax.linear_transpose(forward, flat.point)
        return lambda vector: backward(forward(vector) / losses.size)[0]

    return truncated_newton(where, damping, cg_limit, product, counted="ggnvp", needs=("per_example_fn",))
