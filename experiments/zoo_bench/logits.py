"""The scores of both frameworks at the same random weights, in evaluation mode."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jax231.models import pretrained, zoo
from zoo_bench import torch_nets
from zoo_bench.inputs import inputs

LIMIT = 1e-4
"""Of the largest difference of two scores, in float32."""


def compare(name: str) -> dict[str, Any]:
    """The largest difference of scores, and how large they are; the way there and back of the weights is checked."""
    entry, net = zoo.entry(name), torch_nets.build(name)
    torch_nets.randomise(net)
    weights = torch_nets.arrays(net)
    params, state = pretrained.load(name, weights)
    back = pretrained.to_state_dict(name, params, state)
    same = all(np.array_equal(back[key], weights[key]) for key in back)

    x, _ = inputs(2, entry.shape, entry.classes, seed=1)
    with torch.no_grad():
        theirs = net.eval()(torch_nets.fed(x)).numpy()
    del net, weights, back
    model = entry.build(entry.shape, entry.classes)

    @jax.jit
    def scores(params: Any, state: Any, x: jax.Array) -> jax.Array:
        given = (None, x) if entry.form == "tokens" else x
        y = entry.scores(model.apply(params, state, given, train=False)[0])
        return y.mT if entry.form == "tokens" else y

    ours = np.asarray(scores(params, state, jnp.asarray(x)))
    difference = float(np.abs(ours - theirs).max())
    return {
        "difference": difference,
        "relative": float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)),
        "largest": float(np.abs(theirs).max()),
        "weights_return": same,
        "agrees": same and difference <= LIMIT,
    }
