"""Newton-CG within a trust region: Hessian-vector products alone, and directions of negative curvature used."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core.checks import require, require_nonnegative
from jax231.core.types import PyTree, Scalar
from jax231.curvature.products import linearized_hvp
from jax231.optim import counts
from jax231.optim.flat import flatten, ravel
from jax231.optim.truncated_newton import residual_allowed
from jax231.optim.trust_region import judge, require_radius, steihaug, undamped


class NewtonCgTrustState(NamedTuple):
    """What was used, the radius to begin the next step with, the last one's CG iterations, and whether it failed."""

    counts: counts.Counts
    radius: Float[Array, ""]
    cg_iterations: Int[Array, ""]
    stalled: Bool[Array, ""]


def newton_cg_trust(
    damping: Scalar = 0.0, *, radius: Scalar = 1.0, cg_limit: int = 50, tries: int = 20
) -> optax.GradientTransformationExtraArgs:
    """Steihaug's trust-region Newton: CG on (H + lambda I) p = -gradient within a radius that the loss decides on.

    `update` needs ``value``, ``grad`` and ``value_fn``. CG stops at a residual of min(1/2, sqrt|g|) |g|, on the rim,
    or after `cg_limit` products. Unlike a line search it follows negative curvature as far as the radius allows, so it
    leaves saddles quickly. A step that does not lower the loss is computed again within a quarter of its length, up
    to `tries` times.

    damping: lambda >= 0, traced; the trust region needs none. `radius`: the first one, traced.

    Cost:    6 copies of the parameters; a step takes two gradients (one of them to linearize) and some hvps.
    Raises:  ValueError if damping is negative or the radius not positive where they can be seen, or if `cg_limit` or
        `tries` is below 1.
    Source:  Steihaug 1983; Nocedal & Wright 2006, algorithms 4.1 and 7.2.
    """
    where = "newton_cg_trust"
    require(cg_limit >= 1, where, "at least one CG iteration", cg_limit=cg_limit)
    require(tries >= 1, where, "at least one try a step", tries=tries)
    require_nonnegative(where, damping=damping)
    require_radius(where, radius)

    def init(params: PyTree) -> NewtonCgTrustState:
        flat, _ = ravel(params)
        zero = jnp.zeros((), jnp.int32)
        return NewtonCgTrustState(counts.none(), jnp.asarray(radius, flat.dtype), zero, jnp.zeros((), bool))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        fun, point, value, gradient, unravel = flatten(where, params, extra)
        _, product = linearized_hvp(fun, point)
        shift = jnp.asarray(damping, point.dtype)
        tolerance = residual_allowed(gradient)

        def attempt(carry):
            _, _, size, products, count = carry
            found = undamped(steihaug(lambda v: product(v) + shift * v, -gradient, size, tolerance, cg_limit), shift)
            taken = judge(value, fun(point + found.step), found, size)
            hopeless = ~(found.decrease > 0)
            step = jnp.where(taken.accepted & ~hopeless, found.step, 0)
            return step, hopeless | taken.accepted, taken.radius, products + found.products, count + 1

        def going(carry):
            _, done, _, _, count = carry
            return ~done & (count < tries)

        zero = jnp.zeros((), jnp.int32)
        carry = jnp.zeros_like(point), jnp.zeros((), bool), state.radius, zero, zero
        step, _, size, products, count = jax.lax.while_loop(going, attempt, carry)
        moved = (step != 0).any()
        used = state.counts.plus(loss=count, gradient=2, hvp=products)
        return unravel(step), NewtonCgTrustState(used, jnp.where(moved, size, state.radius), products, ~moved)

    return optax.GradientTransformationExtraArgs(init, update)
