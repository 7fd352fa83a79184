"""Newton-CG with curvature from a part of the batch, whose products cost as much less as it is smaller.

The course's second-order methods want full batches. CG forgives an inexact Hessian more than an inexact gradient, so
the gradient is that of the whole batch and the Hessian that of a few of its examples. Where batches are small the
curvature is noise all the same: directions that the few examples do not see are flat to them, and steps along these
end only where the damping or the line search says so.
"""

from typing import Any

import jax.numpy as jnp
import optax

from jax231.core.types import Scalar
from jax231.curvature.products import linearized_hvp
from jax231.optim.flat import Flat
from jax231.optim.objective import scalar
from jax231.optim.truncated_newton import Product, truncated_newton


def newton_cg_subsampled(damping: Scalar = 1e-3, *, cg_limit: int = 10) -> optax.GradientTransformationExtraArgs:
    """Truncated Newton whose Hessian H is that of ``curvature_fn``: CG on (H + lambda I) p = -gradient, backtracking.

    `update` needs ``value``, ``grad`` and ``value_fn`` on the batch, and ``curvature_fn``, the loss on the part of it
    whose curvature is taken. CG stops as in `newton_cg`, or after `cg_limit` products, since more would resolve what
    the part does not know. The step is shortened until the loss of the whole batch falls.

    damping: lambda >= 0, traced; small batches need more of it.

    Cost:    5 copies of the parameters; a gradient on the batch, another and some hvps on its part. Each counts as one,
             whatever it was evaluated on.
    Raises:  ValueError if damping is negative where it can be seen, `cg_limit` is below 1, or a loss is not one number.
    Source:  Byrd, Chin, Neveitt & Nocedal 2011 (SIAM J. Optim. 21), algorithm 4.1; CS231n lecture 7 for the warning.
    """
    where = "newton_cg_subsampled"

    def product(flat: Flat, extra: dict[str, Any]) -> Product:
        loss = scalar(where, extra["curvature_fn"])
        return linearized_hvp(lambda x: jnp.asarray(loss(flat.unravel(x)), x.dtype), flat.point)[1]

    return truncated_newton(where, damping, cg_limit, product, counted="hvp", needs=("curvature_fn",))
