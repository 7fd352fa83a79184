"""The course's rules as one reads them: each in a few lines, to be compared with the formulas, and with Optax's.

They are ordinary transformations and take the steps of Optax and PyTorch, with PyTorch's flags. `g` is the gradient,
`x` the parameters. The builders of the catalog (`sgd`, `momentum`, `rmsprop`, `adam`, `adamw`) come from Optax; use
those. `nesterov` and `adagrad` have no second form: theirs is by hand already.

Where the definitions differ:

=========  =========================================================================================================
rule       difference
=========  =========================================================================================================
momentum   Optax has no `dampening`. PyTorch does not dampen the first gradient; so here.
rmsprop    Optax adds eps inside the root by default, PyTorch and the course outside: `eps_inside_root`.
adam       With `amsgrad` PyTorch keeps the largest v and corrects it afterwards; so here. Optax keeps the largest of
           the corrected ones, which is larger in the first steps. (The paper corrects nothing.)
adamw      None: PyTorch shrinks x first and then steps, Optax does both at once; they are the same number.
=========  =========================================================================================================
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jax231.core import tree
from jax231.core.checks import require, require_positive
from jax231.core.types import PyTree, Scalar
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.root import divide_by_root


class Moments(NamedTuple):
    """Steps taken, and running means or sums of the gradients and their squares, one tree each."""

    t: Int[Array, ""]
    means: tuple[PyTree, ...]


Rule = Callable[..., tuple[jax.Array, ...]]
"""``rule(t, x, g, *means) -> (step, *means)`` for one leaf, with t = 1 at the first step."""


def _apply(rate: Scalar, rule: Rule, means: int) -> optax.GradientTransformationExtraArgs:
    """The transformation that applies `rule` leaf by leaf, all `means` starting at zero.

    Raises: ValueError if `rate`, which the rule has in it, is not positive where it can be seen.
    """
    require_positive("by_hand", rate=rate)

    def init(params: PyTree) -> Moments:
        return Moments(jnp.zeros((), jnp.int32), tuple(tree.zeros_like(params) for _ in range(means)))

    def update(updates: PyTree, state: Any, params: PyTree = None):
        require(params is not None, "by_hand", "update(grads, state, params)", params=params)
        t = state.t + 1
        moved = jax.tree.map(lambda g, x, *ms: rule(t, x, g, *ms), updates, params, *state.means)
        step, *new = jax.tree.transpose(jax.tree.structure(updates), jax.tree.structure((0,) * (1 + means)), moved)
        return step, Moments(t, tuple(new))

    return keep_dtypes(optax.GradientTransformation(init, update))


def sgd(rate: Scalar) -> optax.GradientTransformationExtraArgs:
    """The vanilla update."""
    return _apply(rate, lambda t, x, g: (-rate * g,), means=0)


def momentum(
    rate: Scalar, decay: Scalar = 0.9, *, dampening: Scalar = 0.0, nesterov: bool = False
) -> optax.GradientTransformationExtraArgs:
    """A ball that rolls: v is the velocity, `decay` what friction leaves of it."""

    def rule(t, x, g, v):
        v = decay * v + jnp.where(t == 1, 1, 1 - dampening) * g
        return -rate * (g + decay * v if nesterov else v), v

    return _apply(rate, rule, means=1)


def rmsprop(
    rate: Scalar,
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    *,
    eps_inside_root: bool = True,
    centered: bool = False,
    momentum: Scalar = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """AdaGrad that forgets; `centered` divides by the standard deviation of the gradient instead of its mean square."""
    inside, outside = (eps, 0.0) if eps_inside_root else (0.0, eps)

    def rule(t, x, g, square, mean, velocity):
        square = decay * square + (1 - decay) * g**2
        mean = decay * mean + (1 - decay) * g
        velocity = momentum * velocity + divide_by_root(g, square - mean**2 * centered, inside, outside)
        return -rate * velocity, square, mean, velocity

    return _apply(rate, rule, means=3)


def adam(
    rate: Scalar, b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-8, *, amsgrad: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Momentum and RMSProp together; both means are divided by what they would be if every gradient were 1."""
    return adamw(rate, b1, b2, eps, weight_decay=0.0, amsgrad=amsgrad)


def adamw(
    rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    *,
    weight_decay: Scalar = 1e-2,
    amsgrad: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Adam, and x shrunk beside it."""

    def rule(t, x, g, m, v, largest):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        largest = jnp.maximum(largest, v)
        second = largest if amsgrad else v
        step = divide_by_root(m / (1 - b1**t), second / (1 - b2**t), 0.0, eps)
        return -rate * (step + weight_decay * x), m, v, largest

    return _apply(rate, rule, means=3)
