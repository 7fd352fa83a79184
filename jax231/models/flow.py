"""How large activations and gradients are, layer by layer, and along the time of a recurrent network."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.core.types import Batch, Key, Model, PyTree
from jax231.models.summary import kind, parents_among
from jax231.nn.bridge import Constructor, watched_apply
from jax231.nn.layer import Layer

Loss = Callable[[PyTree, PyTree], jax.Array]
"""``loss(outputs, targets)``: a number, or one for each example, of which the mean counts."""


class Flow(NamedTuple):
    """One entry a call of a layer, in order; a layer that is called again is "name (2)".

    `mean` and `std` are those of all entries of the output for the batch, `norm` is its Euclidean norm and `gradient`
    that of the loss's gradient with respect to it. `parameters` and `parameter_gradient` are norms over a layer's own
    parameters, 0 where it has none. `loss` is the loss.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    mean: Float[Array, " layers"]
    std: Float[Array, " layers"]
    norm: Float[Array, " layers"]
    gradient: Float[Array, " layers"]
    parameters: Float[Array, " layers"]
    parameter_gradient: Float[Array, " layers"]
    loss: Float[Array, ""]


def gradient_flow(
    constructor: Constructor,
    params: PyTree,
    state: PyTree,
    batch: Batch,
    loss: Loss,
    *,
    train: bool = False,
    key: Key | None = None,
) -> Flow:
    """Activations and gradients of all layers without layers inside, forward and backward once, compiled.

    Of a layer that gives back several arrays the last is taken, of a recurrent layer its hidden states; the gradient
    with respect to these is that of what reads them, without the way through time (see `flow_through_time`).

    Gradient:  at each output that of everything that reads it, in training with the normalisation's statistics.
    Raises:    ValueError for a model without layers, and as `functionalize`'s apply.
    """
    apply = watched_apply(constructor)
    seen: dict[str, tuple[str, str]] = {}

    def forward(params: PyTree, probes: Mapping[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        calls: list[tuple[str, Layer, jax.Array]] = []

        def watch(name: str, layer: Layer, given: tuple[Any, ...], output: PyTree) -> PyTree:
            del given
            *rest, last = jax.tree.leaves(output)
            place = f"{name} ({count + 1})" if (count := [n for n, _, _ in calls].count(name)) else name
            seen[place] = (name, kind(layer))
            last = last + probes[place] if place in probes else last
            calls.append((name, layer, last))
            activations[place] = last
            return jax.tree.unflatten(jax.tree.structure(output), [*rest, last])

        activations: dict[str, jax.Array] = {}
        outputs = apply(watch, params, state, batch.inputs, train=train, key=key)
        return jnp.mean(loss(outputs, batch.targets)), activations

    shapes = jax.eval_shape(lambda params: forward(params, {})[1], params)
    blocks = parents_among(name for name, _ in seen.values())
    places = [
        place for place, (name, _) in seen.items()
        if name not in blocks and jnp.issubdtype(shapes[place].dtype, jnp.floating)
    ]  # fmt: skip
    require(len(places) > 0, "gradient_flow", "a model with layers", layers=len(places))

    @jax.jit
    def measured(params: PyTree) -> dict[str, jax.Array]:
        probes = {place: jnp.zeros(shapes[place].shape, shapes[place].dtype) for place in places}
        both = jax.value_and_grad(forward, argnums=(0, 1), has_aux=True)
        (value, activations), (by_params, by_outputs) = both(params, probes)
        own = [_own(params, seen[place][0]) for place in places]
        grads = [_own(by_params, seen[place][0]) for place in places]
        columns = {
            "mean": [jnp.mean(activations[place]) for place in places],
            "std": [jnp.std(activations[place]) for place in places],
            "norm": [_norm([activations[place]]) for place in places],
            "gradient": [_norm([by_outputs[place]]) for place in places],
            "parameters": [_norm(leaves) for leaves in own],
            "parameter_gradient": [_norm(leaves) for leaves in grads],
        }
        stacked = {name: jnp.stack([jnp.asarray(x, value.dtype) for x in column]) for name, column in columns.items()}
        return stacked | {"loss": value}

    return Flow(tuple(places), tuple(seen[place][1] for place in places), **measured(params))


def flow_through_time(
    model: Model, params: PyTree, state: PyTree, carry: PyTree, tokens: jax.Array, targets: jax.Array, loss: Loss
) -> Float[Array, " steps"]:
    """Norms of the gradients of the loss at the last step with respect to the carry behind each step but the last.

    `model` is recurrent, it maps ``(carry, tokens)`` to ``(carry, logits)``.

    Shapes:  tokens (n, t); targets (n,), those of the last step; ``loss(logits (n, 1, k), targets)`` -> (t - 1,).
    Raises:  ValueError for tokens of another rank.
    """
    require(tokens.ndim == 2, "flow_through_time", "tokens (n, t)", tokens=tokens.shape)

    def last(probes: PyTree) -> jax.Array:
        def step(carry: PyTree, x: tuple[jax.Array, PyTree]) -> tuple[PyTree, jax.Array]:
            token, probe = x
            (carry, logits), _ = model.apply(params, state, (carry, token[:, None]), train=False)
            return jax.tree.map(jnp.add, carry, probe), logits

        behind = jax.tree.map(lambda x: x[:-1], probes)
        reached, _ = jax.lax.scan(step, carry, (tokens.T[:-1], behind))
        # The last carry is read by nobody; what the loss reads of it are the logits.
        (_, logits), _ = model.apply(params, state, (reached, tokens[:, -1:]), train=False)
        return jnp.mean(loss(logits, targets))

    @jax.jit
    def measured() -> jax.Array:
        zeros = jax.tree.map(lambda x: jnp.zeros((tokens.shape[1], *x.shape), x.dtype), carry)
        grads = jax.grad(last)(zeros)
        squares = [jnp.sum(jnp.square(leaf), range(1, leaf.ndim)) for leaf in jax.tree.leaves(grads)]
        return jnp.sqrt(sum(squares))[:-1]

    return measured()


def _own(params: PyTree, name: str) -> list[jax.Array]:
    """The parameters at a path, those of a model that is one layer at ""."""
    for word in name.split("/") if name else ():
        params = params.get(word, {})
    return jax.tree.leaves(params)


def _norm(leaves: list[jax.Array]) -> jax.Array:
    if not leaves:
        return jnp.zeros(())
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]))
    scale = jnp.where(largest > 0, largest, 1)  # gradients may be too small to be squared
    total = sum(jnp.sum(jnp.square(leaf / scale)) for leaf in leaves if math.prod(leaf.shape))
    return scale * jnp.sqrt(total)
