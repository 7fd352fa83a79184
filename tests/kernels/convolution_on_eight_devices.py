"""Convolutions on meshes; `test_devices.py` runs this file in a process with eight devices of the host."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax231.kernels.geometry import Geometry
from tests.geometries import normal
from tests.kernels.test_convolution import agree, family, hvp, loss, stock

GEOMETRY = Geometry((5, 4), (3, 2), (2, 1), ((1, 1), (0, 1)))
X, K = normal(0, 8, 5, 4, 2), normal(1, 3, 2, 2, 4)
OURS, PLAINLY = loss(family(GEOMETRY)), loss(stock(GEOMETRY))


@pytest.fixture(params=(AxisType.Auto, AxisType.Explicit), ids=lambda kind: kind.name)
def mesh(request):
    assert jax.device_count() == 8
    made = jax.make_mesh((8,), ("data",), axis_types=(request.param,))
    with jax.set_mesh(made):
        yield made


@pytest.fixture
def placed(mesh):
    """Images over the devices, the kernel on all."""
    x, k = jax.device_put(X, NamedSharding(mesh, P("data"))), jax.device_put(K, NamedSharding(mesh, P()))
    return x, k


def derivatives(value, x, k):
    return jax.grad(value, (0, 1))(x, k), hvp(value, x, k, (2 * x, k))


@pytest.fixture(scope="module")
def desired():
    return jax.device_get(jax.jit(lambda x, k: derivatives(PLAINLY, x, k))(X, K))


@pytest.fixture(scope="module")
def of_both_signs():
    def value(x, k):
        return PLAINLY(x, k) + PLAINLY(x, -k)

    return jax.device_get(jax.jit(lambda x, k: hvp(value, x, k, (2 * x, k))[1])(X, K))


def test_partitioned_by_xla(desired, placed):
    x, k = placed
    program = jax.jit(lambda x, k: derivatives(OURS, x, k))
    actual = program(x, k)
    agree(actual, desired, 1e-5)
    (of_x, of_k), _ = actual
    assert of_x.sharding.is_equivalent_to(x.sharding, 4)
    assert of_k.sharding.is_fully_replicated
    assert "custom_call @jax231_conv" not in program.lower(x, k).as_text()


def test_types_are_those_of_the_stock_convolution(placed):
    def types(form):
        return [jax.typeof(a) for a in jax.eval_shape(jax.grad(loss(form(GEOMETRY)), (0, 1)), *placed)]

    assert str(types(family)) == str(types(stock))


def test_shard_map(desired, placed):
    def local(x, k):
        return jax.lax.psum(OURS(x, k), "data")

    mapped = jax.shard_map(local, in_specs=(P("data"), P()), out_specs=P())
    actual = jax.jit(lambda x, k: derivatives(mapped, x, k))(*placed)
    agree(actual, desired, 1e-5)


def test_derivatives_and_lanes_inside_shard_map(of_both_signs, placed):
    def local(x, k):
        def value(x, k):
            return jax.lax.psum(jnp.sum(jax.vmap(OURS, (None, 0))(x, jnp.stack([k, -k]))), "data")

        return hvp(value, x, k, (2 * x, k))[1]

    mapped = jax.shard_map(local, in_specs=(P("data"), P()), out_specs=P())

    agree(jax.jit(mapped)(*placed), of_both_signs, 1e-5)


def test_one_of_eight(desired):
    device = jax.devices()[5]
    x, k = jax.device_put(X, device), jax.device_put(K, device)
    (of_x, _), _ = actual = jax.jit(lambda x, k: derivatives(OURS, x, k))(x, k)
    assert of_x.devices() == {device}
    agree(actual, desired, 1e-5)
