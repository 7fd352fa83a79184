"""Parameters and data spread over devices; `test_devices.py` runs this file in a process with eight of the host's."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax231.curvature.lanczos import eigenpairs
from jax231.curvature.products import linearized_ggnvp
from jax231.curvature.trace import hutch_plus_plus

RNG = np.random.default_rng(0)
PARAMS = {
    "first": RNG.normal(size=(6, 16)).astype(np.float32) / 3,
    "second": RNG.normal(size=(16, 4)).astype(np.float32) / 4,
}
X, Y = RNG.normal(size=(8, 6)).astype(np.float32), RNG.normal(size=(8, 4)).astype(np.float32)


def everything(params, x, y):
    def outputs_fn(params):
        return jnp.tanh(x @ params["first"]) @ params["second"]

    def outputs_loss(z):
        return jnp.mean((z - y) ** 2)

    _, product = linearized_ggnvp(outputs_fn, outputs_loss, params)
    key = jax.random.key(0)
    top = eigenpairs(product, params, key, count=2, steps=8)
    return {
        "product": product(params),
        "eigenvalues": (top.values, top.residuals),
        "trace": hutch_plus_plus(product, params, key, probes=4, block=4),
        "squares": jax.tree.map(jnp.square, top.vectors),
    }


def test_parameters_spread_over_devices():
    expected = jax.jit(everything)(PARAMS, X, Y)
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    axes = {"first": P(None, "model"), "second": P("model", None)}
    params = {name: jax.device_put(x, NamedSharding(mesh, axes[name])) for name, x in PARAMS.items()}
    x, y = (jax.device_put(a, NamedSharding(mesh, P("data"))) for a in (X, Y))
    found = jax.jit(everything)(params, x, y)
    assert not found["squares"]["second"].sharding.is_fully_replicated
    chex.assert_trees_all_close(found, expected, rtol=1e-3, atol=1e-4)
