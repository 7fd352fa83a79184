"""All that an optimizer of the catalog may ask for, on the small net."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jax231.optim import catalog
from jax231.optim.kfac import Layer
from tests.trajectories import tapped_net

PyTree = Any

OPTIONS = {"layers": {"hidden": Layer()}}
"""What builders must be told besides their setting."""


def builder(entry: catalog.Entry) -> Callable[[Any], Any]:
    """Of one argument, the setting."""
    return lambda setting: entry.builder(setting, **{name: OPTIONS[name] for name in entry.options})


def everything() -> tuple[dict[str, Callable[..., Any]], PyTree]:
    """The functions by the names of ``update``, all of one mean of squares of residuals, and the start."""
    taps, start = tapped_net()

    def outputs_fn(params: PyTree) -> jax.Array:
        return taps(params, {"hidden": 0.0})[0]

    def value_fn(params: PyTree) -> jax.Array:
        return outputs_loss(outputs_fn(params))

    def outputs_loss(residuals: jax.Array) -> jax.Array:
        return jnp.mean(residuals**2)

    return {
        "value_fn": value_fn,
        "outputs_fn": outputs_fn,
        "outputs_loss": outputs_loss,
        "per_example_fn": lambda params: (outputs_fn(params) ** 2)[:, 0],
        "overlap_fn": value_fn,
        "curvature_fn": value_fn,
        "taps": taps,
    }, start
