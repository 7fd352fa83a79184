"""Six first-order rules as one: which rule it is, is told by numbers, so that a sweep over rules is one program.

Every lane computes, with the numbers of `Coefficients` (c) and from m = 0, v = c.v_start, t = 1, 2, ...::

    m = c.m_decay * m + c.m_gain * g
    v = c.v_decay * v + c.v_gain * g^2
    m^, v^ = c.from_m * m + c.from_g * g, v       divided by 1 - c.m_decay^t, 1 - c.v_decay^t where c.corrected is 1
    x += -rate * m^ / (sqrt(v^ + c.eps_inside) + c.eps_outside)

A rule without normalisation has v = 0 and ``eps_inside = 1``, hence a denominator of exactly 1. `lax.switch` over
the rules would, under `vmap`, run all of them for every lane.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative, require_positive, require_rate
from jax231.core.types import PyTree
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.root import divide_by_root


class Coefficients(NamedTuple):
    """The numbers that make a rule, scalars, or arrays over lanes once stacked; the defaults are plain descent."""

    m_decay: jax.Array | float = 0.0
    m_gain: jax.Array | float = 1.0
    from_m: jax.Array | float = 1.0
    from_g: jax.Array | float = 0.0
    v_decay: jax.Array | float = 0.0
    v_gain: jax.Array | float = 0.0
    v_start: jax.Array | float = 0.0
    corrected: jax.Array | float = 0.0
    eps_inside: jax.Array | float = 1.0
    eps_outside: jax.Array | float = 0.0


class FamilyState(NamedTuple):
    """Steps taken, the first moment and the second."""

    count: Int[Array, ""]
    m: PyTree
    v: PyTree


def _sgd() -> Coefficients:
    return Coefficients()


def _momentum(decay: jax.Array | float = 0.9) -> Coefficients:
    return Coefficients(m_decay=decay)


def _nesterov(decay: jax.Array | float = 0.9) -> Coefficients:
    return Coefficients(m_decay=decay, from_m=decay, from_g=1.0)


def _adagrad(
    initial_accumulator: jax.Array | float = 0.0, eps: jax.Array | float = 1e-7, eps_inside_root: bool = False
) -> Coefficients:
    return Coefficients(v_decay=1.0, v_gain=1.0, v_start=initial_accumulator, **_eps(eps, eps_inside_root))


def _rmsprop(
    decay: jax.Array | float = 0.9, eps: jax.Array | float = 1e-8, eps_inside_root: bool = True
) -> Coefficients:
    return Coefficients(v_decay=decay, v_gain=1.0 - decay, **_eps(eps, eps_inside_root))


def _adam(b1: jax.Array | float = 0.9, b2: jax.Array | float = 0.999, eps: jax.Array | float = 1e-8) -> Coefficients:
    return Coefficients(
        m_decay=b1, m_gain=1.0 - b1, v_decay=b2, v_gain=1.0 - b2, corrected=1.0, eps_inside=0.0, eps_outside=eps
    )


def _eps(eps: jax.Array | float, inside: bool) -> dict[str, jax.Array | float]:
    return {"eps_inside": eps if inside else 0.0, "eps_outside": 0.0 if inside else eps}


COEFFICIENTS: Mapping[str, Callable[..., Coefficients]] = MappingProxyType(
    {
        "sgd": _sgd,
        "momentum": _momentum,
        "nesterov": _nesterov,
        "adagrad": _adagrad,
        "rmsprop": _rmsprop,
        "adam": _adam,
    }
)
"""The rules by name; each takes the hyperparameters, with the defaults, of the builder of that name."""


def coefficients(name: str, **hyperparameters: Any) -> Coefficients:
    """The numbers of the rule `name`; `hyperparameters` are those of its own builder, but for the rate.

    Raises:    ValueError if there is no such rule, or for a number that its builder would refuse.
    """
    require(name in COEFFICIENTS, "coefficients", "one of " + ", ".join(COEFFICIENTS), name=name)
    for key, number in hyperparameters.items():
        if key in ("decay", "b1", "b2"):
            require_rate(name, key, number)
        else:
            require_nonnegative(name, **{key: number})
    return COEFFICIENTS[name](**hyperparameters)


def stack(lanes: Sequence[Coefficients]) -> Coefficients:
    """The coefficients of several lanes as arrays over lanes, to be mapped over by `jax.vmap`."""
    return jax.tree.map(lambda *numbers: jnp.stack([jnp.asarray(n, float) for n in numbers]), *lanes)


def family(rate: jax.Array | float, coefficients: Coefficients) -> optax.GradientTransformationExtraArgs:
    """The rule that `coefficients` describe; all numbers may be traced, and mapped over by `jax.vmap`.

    Each member takes the steps of its own builder, `nesterov` those of both its forms since the rate is constant.

    Shapes:    `rate` and every coefficient are scalars; arrays over lanes belong under `jax.vmap`.
    Gradient:  finite also where gradients are zero.
    Raises:    ValueError if `rate` is not positive where it can be seen.
    """
    require_positive("family", rate=rate)
    c = coefficients

    def init(params):
        start = jax.tree.map(lambda x: jnp.full_like(x, c.v_start), params)
        return FamilyState(jnp.zeros((), jnp.int32), tree.zeros_like(params), start)

    def update(updates, state, params=None):
        count = state.count + 1
        m_scale = -rate / (1 - c.corrected * c.m_decay**count)
        v_scale = 1 / (1 - c.corrected * c.v_decay**count)

        def first(m, g):
            return c.m_decay * m + c.m_gain * g

        def second(v, g):
            return c.v_decay * v + c.v_gain * g * g  # in this order 0 * g * g is 0 also where g * g overflows

        def step(g, m, v):
            direction = m_scale * c.from_m * m + m_scale * c.from_g * g
            return divide_by_root(direction, v_scale * v, c.eps_inside, c.eps_outside)

        m = jax.tree.map(first, state.m, updates)
        v = jax.tree.map(second, state.v, updates)
        return jax.tree.map(step, updates, m, v), FamilyState(count, m, v)

    return keep_dtypes(optax.GradientTransformation(init, update))
