"""Parameters and data spread over devices; `test_devices.py` runs this file in a process with eight of the host's."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax231 import curvature

RNG = np.random.default_rng(0)
PARAMS = {
    "first": RNG.normal(size=(6, 16)).astype(np.float32) / 3,
    "second": RNG.normal(size=(16, 4)).astype(np.float32) / 4,
}
X, Y = RNG.normal(size=(8, 6)).astype(np.float32), RNG.normal(size=(8, 4)).astype(np.float32)
AXES = {"first": P(None, "model"), "second": P("model", None)}


def everything(params, x, y, rows=None):
    """`rows`: how the outputs are spread, which an explicit mesh wants to be told where two split axes meet."""

    def outputs_of(params, x):
        spread = None if rows is None else rows if len(x) > 1 else P(None, None)
        return jnp.matmul(jnp.tanh(x @ params["first"]), params["second"], out_sharding=spread)

    def outputs_fn(params):
        return outputs_of(params, x)

    def outputs_loss(z):
        return jnp.mean((z - y) ** 2)

    def loss(params, batch):
        return jnp.mean((outputs_of(params, batch[0]) - batch[1]) ** 2)

    _, product = curvature.linearized_ggnvp(outputs_fn, outputs_loss, params)
    key = jax.random.key(0)
    top = curvature.eigenpairs(product, params, key, count=2, steps=8)
    return {
        "products": (product(params), curvature.hvp(lambda p: loss(p, (x, y)), params, params)),
        "eigenvalues": (top.values, top.residuals),
        "trace": curvature.hutch_plus_plus(product, params, key, probes=4, block=4),
        "squares": jax.tree.map(jnp.square, top.vectors),
        "batches": curvature.over_batches(jax.grad(loss), size=4)(params, (x, y)),
        "examples": curvature.per_example_gradients(loss, params, (x, y)),
        "diagonal": curvature.hutchinson_diagonal(product, params, key, probes=2),
    }


@pytest.fixture(scope="module")
def expected():
    return jax.jit(everything)(PARAMS, X, Y)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
def test_parameters_spread_over_devices(kind, expected):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind,) * 2)
    params = {name: jax.device_put(x, NamedSharding(mesh, AXES[name])) for name, x in PARAMS.items()}
    x, y = (jax.device_put(a, NamedSharding(mesh, P("data"))) for a in (X, Y))
    rows = P("data", None) if kind == AxisType.Explicit else None
    with jax.set_mesh(mesh):
        found = jax.jit(lambda *args: everything(*args, rows))(params, x, y)
    assert not found["squares"]["second"].sharding.is_fully_replicated
    chex.assert_trees_all_close(jax.device_get(found), jax.device_get(expected), rtol=1e-3, atol=1e-4)
