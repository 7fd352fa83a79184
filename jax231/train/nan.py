"""Where numbers stopped being finite: the first layer whose output or gradient is not."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jax231.core import tree
from jax231.core.types import Batch, Key, PyTree
from jax231.nn.bridge import Constructor, watched_apply
from jax231.nn.layer import Layer


def first_not_finite(
    constructor: Constructor,
    params: PyTree,
    state: PyTree,
    batch: Batch,
    loss: Callable[[PyTree, PyTree], jax.Array],
    key: Key | None = None,
) -> str | None:
    """The first thing in the order of a training step that is not finite, None where all is.

    That order: parameters and state, inputs, the layers' outputs as they run, the loss, the gradients of the outputs
    from the last layer back to the first, the gradients of the parameters. ``"output of stage1/00/conv1"`` names a
    layer, ``"parameter fc/kernel"`` a parameter that was spoilt by a step before. Runs once, compiled.

    `loss(outputs, targets)` is a number, or one for each example, of which the mean counts. `batch.inputs` is what the
    model is applied to, of a recurrent network with its carry.
    """
    apply, ran = watched_apply(constructor), list[str]()  # a traced dict comes back in the order of its names
    floating = lambda x: jnp.issubdtype(jnp.result_type(x), jnp.floating)  # noqa: E731

    def forward(params: PyTree, probes: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        seen: dict[str, jax.Array] = {}

        def watch(name: str, layer: Layer, given: tuple[Any, ...], output: PyTree) -> PyTree:
            del layer, given
            *rest, last = jax.tree.leaves(output)
            calls = sum(place.partition(" (")[0] == name for place in seen)
            place = f"{name} ({calls + 1})" if calls else name
            last = last + probes[place] if place in probes else last
            seen[place] = last
            if place not in ran:
                ran.append(place)
            return jax.tree.unflatten(jax.tree.structure(output), [*rest, last])

        outputs = apply(watch, params, state, batch.inputs, train=True, key=key)
        return jnp.mean(loss(outputs, batch.targets)), seen

    shapes = jax.eval_shape(lambda p: forward(p, {})[1], params)
    places = {place: shapes[place] for place in ran if floating(shapes[place])}

    @jax.jit
    def flags(params: PyTree) -> dict[str, jax.Array]:
        probes = {place: jnp.zeros(x.shape, x.dtype) for place, x in places.items()}
        both = jax.value_and_grad(forward, argnums=(0, 1), has_aux=True)
        (value, seen), (by_params, by_outputs) = both(params, probes)
        columns = _leaves("parameter", params) | _leaves("state", state) | _leaves("inputs", batch.inputs)
        columns |= {f"output of {place or 'the model'}": seen[place] for place in places}
        columns |= {"loss": value}
        columns |= {
            f"gradient of the output of {place or 'the model'}": by_outputs[place] for place in reversed(places)
        }
        columns |= _leaves("gradient of", by_params)
        finite = {name: jnp.all(jnp.isfinite(x)) for name, x in columns.items() if floating(x)}
        order.extend(name for name in finite if name not in order)  # jit sorts the keys of what it returns
        return finite

    order: list[str] = []
    finite = jax.device_get(flags(params))
    return next((name for name in order if not finite[name]), None)


def _leaves(what: str, some: PyTree) -> dict[str, jax.Array]:
    named = zip(tree.names(some), jax.tree.leaves(some), strict=True)
    return {f"{what} {name}".strip(): leaf for name, leaf in named}
