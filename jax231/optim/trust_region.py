"""Trust regions: the step that a quadratic model allows within a radius, and how far to trust the model next."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jax231.core import checks, tree
from jax231.core.types import Scalar as Number
from jax231.optim.linesearch import rounding

Vector = Float[Array, " n"]
Scalar = Float[Array, ""]


class Within(NamedTuple):
    """A step within the radius, by how much the model falls, the products it took, and whether it ends on the rim."""

    step: Vector
    decrease: Scalar
    products: Int[Array, ""]
    rim: Bool[Array, ""]


class Judgement(NamedTuple):
    """Whether to take the step, and the radius of the next one."""

    accepted: Bool[Array, ""]
    radius: Scalar


def steihaug(
    product: Callable[[Vector], Vector], vector: Vector, radius: Number, tolerance: Number, limit: int
) -> Within:
    """Minimize ``x . product(x) / 2 - vector . x`` over |x| <= `radius`, by conjugate gradients from x = 0.

    The iterates grow in length. Where one would leave the region, or a direction has non-positive curvature, the
    solution is where that direction meets the rim; else it has a residual of at most `tolerance`, or took `limit`
    products. The model falls at least as far as along `vector` alone; where it is convex and the tolerance 0, it falls
    at least half as far as it can within the radius.

    Source: Steihaug 1983 (SIAM J. Numer. Anal. 20), Toint 1981; Nocedal & Wright 2006, algorithm 7.2. Yuan 2000 (Math.
    Program. 87) for the half.
    """

    def going(carry):
        residual, _, within = carry
        return (tree.dot(residual, residual) > tolerance**2) & (within.products < limit) & ~within.rim

    def advance(carry):
        residual, direction, (step, decrease, products, _) = carry
        image = product(direction)
        curvature, square = tree.dot(direction, image), tree.dot(residual, residual)
        positive = curvature > 0
        length = square / jnp.where(positive, curvature, 1)
        inside = positive & (tree.norm(step + length * direction) < radius)
        length = jnp.where(inside, length, to_rim(step, direction, radius))
        residual = residual - length * image
        within = Within(
            step + length * direction, decrease + length * (square - length * curvature / 2), products + 1, ~inside
        )
        return residual, residual + tree.dot(residual, residual) / square * direction, within

    zero = jnp.zeros((), vector.dtype)
    start = Within(jnp.zeros_like(vector), zero, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    return jax.lax.while_loop(going, advance, (vector, vector, start))[2]


def undamped(within: Within, damping: Scalar) -> Within:
    """The same step, and by how much the model of the loss itself falls there: it has no damping in it."""
    return within._replace(decrease=within.decrease + damping * tree.dot(within.step, within.step) / 2)


def to_rim(step: Vector, direction: Vector, radius: Number) -> Scalar:
    """The t >= 0 with ``|step + t direction| = radius``, for a step inside."""
    square, along = tree.dot(direction, direction), tree.dot(step, direction)
    left = jnp.maximum(radius**2 - tree.dot(step, step), 0)
    below = along + jnp.sqrt(along**2 + square * left)
    return left / jnp.where(below > 0, below, 1)


def judge(
    value: Scalar, trial: Scalar, within: Within, radius: Scalar, *, poor: float = 0.25, shrink: float = 0.25
) -> Judgement:
    """Compare the fall of the loss, from `value` to `trial`, with the model's.

    A step is taken where the loss falls by 1e-4 of what the model says. Below `poor` of it (or where the loss is not a
    number) the radius becomes `shrink` times the step's length; above three quarters, and for a step of more than 0.8
    radii, it doubles. Falls that rounding hides count as the model's.

    Source: Nocedal & Wright 2006, algorithm 4.1, and 6.2 for the 0.8; Conn, Gould & Toint 2000, section 17.4.2, for
    rounding.
    """
    slack, length = rounding(value), tree.norm(within.step)
    ratio = (value - trial + slack) / (within.decrease + slack)
    grown = jnp.where((ratio > 0.75) & (length > 0.8 * radius), 2 * radius, radius)
    return Judgement(ratio > 1e-4, jnp.where(ratio >= poor, grown, shrink * length))


def require_radius(where: str, radius: Number) -> None:
    """A radius above 0; a traced one is not looked at.

    Raises: ValueError of the optimizer `where`.
    """
    if checks.is_concrete(radius):
        checks.require(bool(np.all(np.asarray(radius) > 0)), where, "radius above 0", radius=radius)
