"""One training step of both frameworks from the same weights on the same batch, in float32 and in float64.

Nothing is dropped, on either side: random masks cannot be compared.
"""

from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from jax231.models import pretrained, zoo
from jax231.nn.bridge import functionalize, rate_kinds
from jax231.optim.sgd import sgd
from zoo_bench import torch_nets
from zoo_bench.differences import relative, worst
from zoo_bench.inputs import inputs

LIMITS = {"float32": 1e-4, "float64": 1e-9}
"""Of relative differences in norm."""

RATE = 0.1
"""The learning rate."""

Arrays = dict[str, np.ndarray]


class Step(NamedTuple):
    """The loss before the step, its gradient, and what the step left; arrays by PyTorch's names."""

    loss: float
    gradients: Arrays
    statistics: Arrays
    weights: Arrays


def compare(name: str, n: int = 4) -> dict[str, Any]:
    """Relative differences of the four parts of a step in both precisions, and what rounding did to the gradient.

    The step agrees if all parts do in float64; where one is further off than the limit in float32, our gradient there
    must be as near to that in float64 as PyTorch's is, at twice the distance at most: rounding moves units across the
    kink of ReLU and changes the order of maxima.
    """
    entry, net = zoo.entry(name), torch_nets.build(name)
    torch_nets.without_dropout(net)
    torch_nets.randomise(net)
    weights, batch = torch_nets.arrays(net), inputs(n, entry.shape, entry.classes, seed=2)
    ours, theirs = {}, {}
    for bits in (32, 64):
        start = {key: np.asarray(array, f"f{bits // 8}") for key, array in weights.items() if array.ndim}
        theirs[bits] = _theirs(net.to(getattr(torch, f"float{bits}")), start, *batch)
        with jax.enable_x64(True) if bits == 64 else nullcontext():
            ours[bits] = _ours(name, start, *batch)
    differences = {f"float{bits}": _differences(ours[bits], theirs[bits]) for bits in ours}
    exact = theirs[64].gradients
    rounding = {side: relative(steps[32].gradients, exact) for side, steps in (("jax231", ours), ("torch", theirs))}
    near = {precision: max(parts.values()) <= LIMITS[precision] for precision, parts in differences.items()}
    return {
        **differences,
        "worst_gradient": worst(ours[64].gradients, exact),
        "rounding": rounding,
        "agrees": near["float64"] and (near["float32"] or rounding["jax231"] <= 2 * rounding["torch"]),
    }


def _differences(ours: Step, theirs: Step) -> dict[str, float]:
    """Of all parts that the network has: without normalisation there are no statistics."""
    pairs = {part: (getattr(ours, part), getattr(theirs, part)) for part in ("gradients", "statistics", "weights")}
    parts = {part: relative(a, b) for part, (a, b) in pairs.items() if b}
    return {"loss": abs(ours.loss - theirs.loss) / abs(theirs.loss), **parts}


def _theirs(net: torch.nn.Module, start: Arrays, x: np.ndarray, labels: np.ndarray) -> Step:
    """In PyTorch."""
    net.load_state_dict({key: torch.from_numpy(array) for key, array in start.items()}, strict=False)
    dtype = next(net.parameters()).dtype
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=RATE)
    optimizer.zero_grad()
    outputs = net.train()(torch_nets.fed(x, dtype))
    target = torch.from_numpy(labels.astype(np.int64))
    loss = torch_nets.loss(outputs, target)
    loss.backward()
    gradients = {name: p.grad.numpy().copy() for name, p in net.named_parameters() if p.grad is not None}
    optimizer.step()
    return _step(float(loss), gradients, torch_nets.arrays(net))


def _ours(name: str, start: Arrays, x: np.ndarray, labels: np.ndarray) -> Step:
    """In JAX, in the precision that is on."""
    entry = zoo.entry(name)
    constructor = entry.constructor(entry.shape, entry.classes)
    model, rates = functionalize(constructor), dict.fromkeys(rate_kinds(constructor), 0.0)
    params, state = pretrained.load(name, start)
    tx = sgd(RATE)

    @jax.jit
    def step(params: Any, state: Any, x: jax.Array, labels: jax.Array) -> Any:
        def objective(params: Any) -> tuple[jax.Array, Any]:
            given = (None, x) if entry.form == "tokens" else x
            outputs, after = model.apply(params, state, given, train=True, key=jax.random.key(0), rates=rates)
            return entry.loss_function(outputs, labels).mean(), after

        (loss, after), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, _ = tx.update(grads, tx.init(params), params)
        return loss, grads, optax.apply_updates(params, updates), after

    dtype = jax.tree.leaves(params)[0].dtype
    given = jnp.asarray(x, dtype) if x.dtype.kind == "f" else jnp.asarray(x)
    loss, grads, params, after = jax.device_get(step(params, state, given, jnp.asarray(labels)))
    gradients = pretrained.to_state_dict(name, grads, after)
    return _step(float(loss), gradients, pretrained.to_state_dict(name, params, after))


def _step(loss: float, gradients: Arrays, left: Arrays) -> Step:
    statistics = {key: array for key, array in left.items() if "running_" in key}
    return Step(loss, gradients, statistics, {key: left[key] for key in gradients if key not in statistics})
