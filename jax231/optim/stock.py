"""Every other optimizer of Optax by name, behind the one call: ``stock("lamb")(rate)``."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from jax231.core import tree
from jax231.core.checks import require_positive
from jax231.core.lookup import by_name
from jax231.core.types import PyTree, Scalar
from jax231.optim.arguments import required
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.stock_table import STOCK

Builder = Callable[..., optax.GradientTransformationExtraArgs]
Make = Callable[..., optax.GradientTransformation]


def stock(name: str) -> Builder:
    """The builder ``build(rate, **options)`` of Optax's optimizer `name`, an entry of `stock_table`.

    It keeps types as ours do (`dtypes.keep_dtypes`), `rate` may be traced, and what ``update`` must be given besides is
    asked for by name. The options are Optax's own, but for these:

    =========  ========================================================================================================
    mechanize  ``base``, the optimizer whose steps it scales, by default Adam of rate 1
    noisy_sgd  ``key``, of the noise
    sam        ``radius`` (0.05) and ``momentum`` (0.9); the step's gradient is that of ``value_fn`` at the worst point
               within the radius
    sophia     ``key``, of the probes; Hessian-vector products are those of ``value_fn``
    =========  ========================================================================================================

    `adadelta` and `adamax` are PyTorch's too. `amsgrad` is not (see `by_hand`), nor `radam`, which adds eps before it
    corrects the root there, nor `rprop`, which in Optax takes the step of the call before, and none at the first.

    Raises:    ValueError with the nearest names for an unknown one; by the builder for a rate that is not positive
               where it can be seen; by ``update`` without what it needs.
    """
    row = by_name(STOCK, name, "stock", "optimizers of Optax", "jax231 optimizers --all")
    home = {"optax": optax, "optax.contrib": contrib}[row.home]
    make: Make = ADAPTED.get(name) or getattr(home, name)

    def build(rate: optax.ScalarOrSchedule, **options: Any) -> optax.GradientTransformationExtraArgs:
        require_positive(name, rate=rate)
        tx = keep_dtypes(make(rate, **options))

        def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
            required(name, extra, *row.needs)
            return tx.update(updates, state, params, **extra)

        return optax.GradientTransformationExtraArgs(tx.init, update)

    return build


def _mechanize(
    rate: Scalar, base: optax.GradientTransformation | None = None, **options: Any
) -> optax.GradientTransformationExtraArgs:
    steps = optax.chain(optax.adam(1.0) if base is None else base, optax.scale(rate))
    return contrib.mechanize(steps, **options)


def _noisy_sgd(rate: optax.ScalarOrSchedule, key: jax.Array | int = 0, **options: Any) -> optax.GradientTransformation:
    return optax.noisy_sgd(rate, key=key, **options)


def _sam(
    rate: optax.ScalarOrSchedule, radius: Scalar = 0.05, momentum: Scalar = 0.9
) -> optax.GradientTransformationExtraArgs:
    def ascend(grads, _):
        length = tree.norm(grads)
        return tree.scale(-radius / jnp.where(length > 0, length, 1), grads)  # SAM goes the other way

    tx = contrib.sam(optax.sgd(rate, momentum), optax.stateless(ascend), opaque_mode=True)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        grad = jax.grad(extra["value_fn"])
        return tx.update(updates, state, params, grad_fn=lambda at, _: grad(at))

    return optax.GradientTransformationExtraArgs(tx.init, update)


def _sm3(rate: Scalar, **options: Any) -> optax.GradientTransformation:
    # Optax's fails for scalar parameters; here they are vectors of one entry.
    tx = optax.sm3(rate, **options)
    vectors = partial(jax.tree.map, jnp.atleast_1d)

    def update(updates: PyTree, state: Any, params: PyTree = None):
        del params
        steps, state = tx.update(vectors(updates), state)
        return jax.tree.map(lambda x, like: x.reshape(like.shape), steps, updates), state

    return optax.GradientTransformation(lambda params: tx.init(vectors(params)), update)


def _sophia(
    rate: optax.ScalarOrSchedule, key: jax.Array | None = None, **options: Any
) -> optax.GradientTransformationExtraArgs:
    diagonal = contrib.hutchinson_estimator_diag_hessian(key)
    tx = optax.with_extra_args_support(contrib.sophia(rate, hessian_diagonal_fn=diagonal, **options))

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        return tx.update(updates, state, params, obj_fn=extra["value_fn"])

    return optax.GradientTransformationExtraArgs(tx.init, update)


ADAPTED: Mapping[str, Make] = MappingProxyType(
    {"mechanize": _mechanize, "noisy_sgd": _noisy_sgd, "sam": _sam, "sm3": _sm3, "sophia": _sophia}
)
