"""Own primitives on meshes; `test_devices.py` runs this file in a process with eight devices of the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from tests.kernels import toy
from tests.kernels.test_primitive import agree, loss, plain_loss
from tests.kernels.toy import kernels_in, product

X, K = np.random.default_rng(0).standard_normal((2, 8, 4, 3)).astype(np.float32)

TYPES = (AxisType.Auto, AxisType.Explicit)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    assert jax.device_count() == 8
    return toy.load()


@pytest.fixture(params=TYPES, ids=lambda kind: kind.name)
def mesh(request):
    made = jax.make_mesh((4, 2), ("data", "model"), axis_types=(request.param,) * 2)
    with jax.set_mesh(made):
        yield made


def put(mesh, x, *axes):
    return jax.device_put(x, NamedSharding(mesh, P(*axes)))


def test_one_of_eight_devices(compiled):
    agree(jax.jit(product)(X, K), X * K)
    assert kernels_in(product, X, K) == int(compiled)
    other = jax.devices()[5]
    y = jax.jit(product)(jax.device_put(X, other), jax.device_put(K, other))
    assert y.devices() == {other}
    agree(y, X * K)


@pytest.mark.parametrize("axes", [("data", "model"), (("data", "model"),)], ids=str)
def test_partitioned_by_xla(mesh, axes):
    x, k = put(mesh, X, *axes), put(mesh, K, *axes)
    y = jax.jit(product)(x, k)
    agree(y, X * K)
    assert y.sharding.is_equivalent_to(x.sharding, 3)
    assert kernels_in(product, x, k) == 0
    agree(product(x, k), X * K)
    agree(jax.jit(jax.grad(loss, (0, 1)))(x, k), jax.grad(plain_loss, (0, 1))(X, K))


def test_types_carry_their_sharding():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x = put(mesh, X, "data")
        seen = []
        jax.jit(lambda x: seen.append(jax.typeof(product(x, x)).sharding.spec))(x)
        assert seen[0] == P("data", None, None)


def test_lanes_over_devices(mesh):
    x, k = put(mesh, X, "data"), put(mesh, K[0])
    mapped = jax.vmap(loss, (0, None))
    agree(jax.jit(mapped)(x, k), jax.vmap(plain_loss, (0, None))(X, K[0]))
    grad = jax.grad(lambda x, k: jnp.sum(mapped(x, k)), 1)
    agree(jax.jit(grad)(x, k), jax.grad(lambda k: jnp.sum(jax.vmap(plain_loss, (0, None))(X, k)))(K[0]))


def test_shard_map(mesh, compiled):
    x, k = put(mesh, X, "data"), put(mesh, K[:2], None)

    def local(x, k):
        return jax.lax.psum(loss(x, k), "data")

    mapped = jax.shard_map(local, in_specs=(P("data"), P()), out_specs=P())
    tiled = np.tile(K[:2], (4, 1, 1))
    agree(jax.jit(mapped)(x, k), plain_loss(X, tiled))
    assert kernels_in(mapped, x, k) == 2 * int(compiled)
    desired = jax.grad(plain_loss, (0, 1))(X, tiled)
    desired = desired[0], desired[1].reshape(4, 2, 4, 3).sum(0)
    agree(jax.jit(jax.grad(mapped, (0, 1)))(x, k), desired)


def test_derivatives_inside_shard_map(mesh, compiled):
    x, k = put(mesh, X, "data"), put(mesh, K[:2], None)

    def hvp(loss, x, k):
        return jax.jvp(jax.grad(loss, 1), (x, k), (x, k))[1]

    def local(x, k):
        return hvp(lambda x, k: jax.lax.psum(loss(x, k), "data"), x, k)

    mapped = jax.shard_map(local, in_specs=(P("data"), P()), out_specs=P())
    desired = hvp(lambda x, k: plain_loss(x, jnp.tile(k, (4, 1, 1))), X, K[:2])
    agree(jax.jit(mapped)(x, k), desired)
    assert kernels_in(mapped, x, k) > 0 or not compiled


def test_lanes_inside_shard_map(mesh, compiled):
    x, k = put(mesh, X, "data"), put(mesh, K[0], None)
    mapped = jax.shard_map(jax.vmap(product, (0, None)), in_specs=(P("data"), P()), out_specs=P("data"))
    agree(jax.jit(mapped)(x, k), X * K[0])
    assert kernels_in(mapped, x, k) == int(compiled)


def test_partly_manual(mesh):
    """XLA partitions the other axis, so the stock operation runs."""
    x = put(mesh, X, "data")
    mapped = jax.shard_map(lambda x: product(x, x), in_specs=P("data"), out_specs=P("data"), axis_names={"data"})
    agree(jax.jit(mapped)(x), X * X)
    assert kernels_in(mapped, x) == 0


def test_a_loop_over_a_sharded_state(mesh):
    x, k = put(mesh, X, "data"), put(mesh, K, "data")

    def run(loss, x, k):
        return jax.lax.scan(lambda x, _: (x - 0.1 * jax.grad(loss)(x, k), loss(x, k)), x, length=3)

    agree(jax.jit(lambda x, k: run(loss, x, k))(x, k), run(plain_loss, X, K))
