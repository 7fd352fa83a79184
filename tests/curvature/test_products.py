import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.curvature.products import hessian, hvp, linearized_hvp
from tests.derivatives import central, relative_error
from tests.trajectories import small_net

pytestmark = pytest.mark.usefixtures("x64")


def made_by_hand(params):
    """``x^3 + x y z + z^4``, nested, so that its Hessian is written down in one line."""
    x, (y, z) = params["x"], params["rest"]["yz"]
    return x**3 + x * y * z + z**4


POINT = {"x": 2.0, "rest": {"yz": (3.0, 0.5)}}
HESSIAN = np.array([[0.0, 2.0, 0.5], [2.0, 3.0, 3.0], [0.5, 3.0, 12.0]])  # in the order of the leaves: y, z, x


@pytest.fixture
def net():
    fun, start = small_net()
    return fun, jax.tree.map(jnp.asarray, start)


def dense(fun, params):
    """What JAX itself finds for the flattened function."""
    flat, unravel = tree.ravel(params)
    return jax.hessian(lambda x: fun(unravel(x)))(flat)


def test_products_are_those_of_the_dense_hessian(net):
    fun, params = net
    vector = jax.tree.map(lambda x: jnp.cos(1.0 + jnp.arange(x.size)).reshape(x.shape), params)
    expected = dense(fun, params) @ tree.ravel(vector)[0]
    gradient, product = jax.jit(lambda p: linearized_hvp(fun, p))(params)
    chex.assert_trees_all_close(gradient, jax.grad(fun)(params), rtol=1e-12)
    for found in (jax.jit(hvp, static_argnums=0)(fun, params, vector), product(vector)):
        chex.assert_trees_all_equal_shapes_and_dtypes(found, params)
        chex.assert_trees_all_close(tree.ravel(found)[0], expected, rtol=1e-10)


def test_a_product_is_the_difference_of_two_gradients(net):
    fun, params = net
    flat, unravel = tree.ravel(params)
    direction = jnp.sin(jnp.arange(flat.size) + 1.0)
    by_differences = central(jax.grad(lambda x: fun(unravel(x))), flat, direction[None])[0]
    assert relative_error(tree.ravel(hvp(fun, params, unravel(direction)))[0], by_differences) <= 1e-7


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_the_hessian_written_down_by_hand(block):
    chex.assert_trees_all_close(hessian(made_by_hand, POINT, block=block), HESSIAN, rtol=1e-12)


@pytest.mark.parametrize("block", [5, 7, 21])
def test_blocks_need_not_divide_the_number_of_parameters(net, block):
    fun, params = net
    found = jax.jit(lambda p: hessian(fun, p, block=block))(params)
    chex.assert_trees_all_equal(found, found.T)
    chex.assert_trees_all_close(found, dense(fun, params), rtol=1e-10, atol=1e-14)


def test_products_map_over_vectors_and_points(net):
    fun, params = net
    points = jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), params)
    matrices = jax.vmap(lambda p: hessian(fun, p, block=4))(points)
    chex.assert_trees_all_close(matrices[1], dense(fun, jax.tree.map(lambda x: 0.5 * x, params)), rtol=1e-9, atol=1e-13)


def test_products_keep_the_type_of_narrow_parameters():
    def fun(params):
        return jnp.sum(params["w"] ** 3)

    params = {"w": jnp.arange(3, dtype=jnp.float32)}
    assert hvp(fun, params, params)["w"].dtype == jnp.float32
    assert hessian(fun, params).dtype == jnp.float32


def test_a_block_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"hessian: expected a block of at least one column; got block=0"):
        hessian(made_by_hand, POINT, block=0)
