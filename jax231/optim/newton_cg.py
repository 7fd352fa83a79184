"""Newton-CG: Newton's equations solved as far as it pays, from Hessian-vector products alone."""

from typing import Any

import optax

from jax231.core.types import Scalar
from jax231.curvature.products import linearized_hvp
from jax231.optim.flat import Flat
from jax231.optim.truncated_newton import Product, truncated_newton


def newton_cg(damping: Scalar = 0.0, *, cg_limit: int = 50) -> optax.GradientTransformationExtraArgs:
    """Truncated Newton: CG on (H + lambda I) p = -gradient, then backtracking until the loss falls.

    `update` needs ``value``, ``grad`` and ``value_fn``. CG stops at a residual of min(1/2, sqrt|g|) |g|, which makes
    the convergence superlinear, at negative curvature, or after `cg_limit` products. `newton_cg_trust` has a
    trust region in place of the line search, and uses negative curvature.

    damping: lambda >= 0, traced. With more than 0 convergence is only linear, at a rate of lambda over lambda plus the
        smallest eigenvalue.

    Cost:    5 copies of the parameters; a step takes two gradients (one of them to linearize) and some hvps.
    Raises:  ValueError if damping is negative where it can be seen, or `cg_limit` is below 1.
    Source:  Nocedal & Wright 2006, algorithm 7.1; Martens 2010 for the damping.
    """

    def product(flat: Flat, extra: dict[str, Any]) -> Product:
        del extra
        return linearized_hvp(flat.fun, flat.point)[1]

    return truncated_newton("newton_cg", damping, cg_limit, product, counted="hvp")
