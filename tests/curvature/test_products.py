import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.curvature.diagonal import ggn_diagonal
from jax231.curvature.lanczos import eigenpairs
from jax231.curvature.products import dense, ggn, ggnvp, hessian, hvp, linearized_ggnvp, linearized_hvp
from tests.curvature.closures import LIKE, NETS, as_vector, operator
from tests.derivatives import assert_derivatives, central, relative_error
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


def by_jax(fun, params):
    """What JAX itself finds for the flattened function."""
    flat, unravel = tree.ravel(params)
    return jax.jit(jax.hessian(lambda x: fun(unravel(x))))(flat)


def test_products_are_those_of_the_dense_hessian(net):
    fun, params = net
    vector = jax.tree.map(lambda x: jnp.cos(1.0 + jnp.arange(x.size)).reshape(x.shape), params)
    expected = by_jax(fun, params) @ as_vector(vector)
    gradient, product = jax.jit(lambda p: linearized_hvp(fun, p))(params)
    chex.assert_trees_all_close(gradient, jax.grad(fun)(params), rtol=1e-12)
    for found in (jax.jit(hvp, static_argnums=0)(fun, params, vector), product(vector)):
        chex.assert_trees_all_equal_shapes_and_dtypes(found, params)
        chex.assert_trees_all_close(as_vector(found), expected, rtol=1e-10)


def test_a_product_is_the_difference_of_two_gradients(net):
    fun, params = net
    flat, unravel = tree.ravel(params)
    direction = jnp.sin(jnp.arange(flat.size) + 1.0)
    by_differences = central(jax.grad(lambda x: fun(unravel(x))), flat, direction[None])[0]
    assert relative_error(tree.ravel(hvp(fun, params, unravel(direction)))[0], by_differences) <= 1e-7


def test_the_error_of_the_taylor_expansion_falls_with_the_third_power(net):
    """Half the step, an eighth of ``f(x + s v) - f(x) - s g'v - s^2 v'Hv / 2``; without the product a quarter."""
    fun, params = net
    vector = jax.tree.map(lambda x: jnp.cos(1.0 + jnp.arange(x.size)).reshape(x.shape), params)

    @jax.jit
    def errors(params, vector, steps):
        gradient, product = linearized_hvp(fun, params)
        slope, bend = tree.dot(gradient, vector), tree.dot(vector, product(vector))
        moved = jax.lax.map(lambda s: fun(tree.axpy(s, vector, params)), steps)
        first = moved - fun(params) - steps * slope
        return first, first - steps**2 * bend / 2

    for found, power in zip(errors(params, vector, 2.0 ** -jnp.arange(10, 14)), (2, 3), strict=True):
        ratios = np.log2(np.abs(found[:-1] / found[1:]))
        chex.assert_trees_all_close(ratios, np.full(3, power, float), atol=0.03)


def test_a_compiled_function_may_return_a_product_and_another_take_it():
    x = np.random.default_rng(0).normal(size=(3, 2))
    model = (lambda p: jnp.tanh(x @ p), lambda z: jnp.sum(z**4))
    made = jax.jit(lambda p: (linearized_ggnvp(*model, p)[1], linearized_hvp(lambda q: model[1](model[0](q)), p)[1]))
    point, vector = np.array([0.3, -0.7]), np.array([1.0, 0.5])
    found = [jax.jit(lambda product, v: product(v))(product, vector) for product in made(point)]
    expected = ggnvp(*model, point, vector), hvp(lambda q: model[1](model[0](q)), point, vector)
    chex.assert_trees_all_close(found, list(expected), rtol=1e-12)


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_the_hessian_written_down_by_hand(block):
    chex.assert_trees_all_close(hessian(made_by_hand, POINT, block=block), HESSIAN, rtol=1e-12)


@pytest.mark.parametrize("block", [5, 7, 21])
def test_blocks_need_not_divide_the_number_of_parameters(net, block):
    fun, params = net
    found = jax.jit(lambda p: hessian(fun, p, block=block))(params)
    chex.assert_trees_all_equal(found, found.T)
    chex.assert_trees_all_close(found, by_jax(fun, params), rtol=1e-10, atol=1e-14)


def test_products_map_over_vectors_and_points(net):
    fun, params = net
    points = jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), params)
    matrices = jax.jit(jax.vmap(lambda p: hessian(fun, p, block=7)))(points)
    chex.assert_trees_all_close(
        matrices[1], by_jax(fun, jax.tree.map(lambda x: 0.5 * x, params)), rtol=1e-9, atol=1e-13
    )


def test_products_keep_the_type_of_narrow_parameters():
    def fun(params):
        return jnp.sum(params["w"] ** 3)

    params = {"w": jnp.arange(3, dtype=jnp.float32)}
    assert hvp(fun, params, params)["w"].dtype == jnp.float32
    assert hessian(fun, params).dtype == jnp.float32


def test_a_block_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"hessian: expected a block of at least one column; got block=0"):
        hessian(made_by_hand, POINT, block=0)


@pytest.mark.parametrize("net", NETS)
def test_matrices_of_networks(net):
    """Batch normalisation, pooling, dropout by a frozen key, recurrence: all against dense derivatives of JAX's own."""
    closure = NETS[net]()
    flat, unravel = tree.ravel(closure.params)
    direction = np.random.default_rng(1).normal(size=flat.size)

    @jax.jit
    def truth(flat):
        outputs, unravel_outputs = tree.ravel(closure.outputs_fn(unravel(flat)))
        jacobian = jax.jacrev(lambda x: tree.ravel(closure.outputs_fn(unravel(x)))[0])(flat)
        inner = jax.hessian(lambda z: closure.outputs_loss(unravel_outputs(z)))(outputs)
        return jax.hessian(lambda x: closure.loss(unravel(x)))(flat), jacobian.T @ inner @ jacobian

    @jax.jit
    def ours(params, vector):
        model = closure.outputs_fn, closure.outputs_loss, params
        gradient, product = linearized_ggnvp(*model)
        slope, second = linearized_hvp(closure.loss, params)
        return {
            "gradients": (gradient, slope, jax.grad(closure.loss)(params)),
            "products": (second(vector), product(vector)),
            "diagonal": ggn_diagonal(*model, block=5),
            "largest": eigenpairs(second, params, jax.random.key(0), steps=40, end="magnitude").values,
        }

    curvature, gauss_newton = truth(flat)
    found = jax.tree.map(jnp.asarray, ours(closure.params, unravel(jnp.asarray(direction))))
    first, second, expected = found["gradients"]
    chex.assert_trees_all_close((first, second), (expected, expected), rtol=1e-10, atol=1e-14)
    for product, matrix in zip(found["products"], (curvature, gauss_newton), strict=True):
        assert relative_error(as_vector(product), matrix @ direction) <= 1e-12
    chex.assert_trees_all_equal_shapes_and_dtypes((*found["products"], found["diagonal"]), (expected,) * 3)
    assert relative_error(as_vector(found["diagonal"]), np.diag(gauss_newton)) <= 1e-12
    values = np.linalg.eigvalsh(curvature)
    assert relative_error(found["largest"][0], values[np.abs(values).argmax()]) <= 1e-9


def test_ggn_is_the_hessian_of_a_linear_model():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 3)), rng.integers(0, 4, 6)
    params = {"weight": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}

    def outputs_fn(params):
        return x @ params["weight"] + params["bias"], params

    def outputs_loss(outputs):
        logits, params = outputs
        return -jnp.mean(jax.nn.log_softmax(logits)[np.arange(6), labels]) + 0.1 * jnp.sum(params["weight"] ** 2)

    def both(params):
        return ggn(outputs_fn, outputs_loss, params), hessian(lambda p: outputs_loss(outputs_fn(p)), params)

    chex.assert_trees_all_close(*jax.jit(both)(params), rtol=1e-12, atol=1e-15)


def test_derivatives_of_products_with_the_gauss_newton_matrix():
    x = np.random.default_rng(0).normal(size=(3, 2))

    def product(params, vector):
        return ggnvp(lambda p: jnp.tanh(x @ p), lambda z: jnp.sum(z**4), params, vector)

    assert_derivatives(product, np.array([0.3, -0.7]), np.array([1.0, 0.5]))


def test_the_matrix_of_any_linear_map():
    matrix = np.random.default_rng(0).normal(size=(12, 12))
    chex.assert_trees_all_close(dense(operator(matrix), LIKE, block=5), matrix, rtol=1e-14)


def test_gauss_newton_products_keep_narrow_types_and_map_over_points():
    def outputs_fn(params):
        return {"z": jnp.sin(params["w"]).astype(jnp.float32)}

    def product(params, vector):
        return ggnvp(outputs_fn, lambda z: jnp.sum(z["z"] ** 2), params, vector)

    params = {"w": jnp.arange(3, dtype=jnp.bfloat16)}
    assert product(params, params)["w"].dtype == jnp.bfloat16
    points = {"w": jnp.linspace(0, 1, 6).reshape(2, 3)}
    found = jax.vmap(product)(points, points)["w"]
    chex.assert_trees_all_close(found, 2 * jnp.cos(points["w"]) ** 2 * points["w"], rtol=1e-6)


def test_a_product_does_not_evaluate_the_model_again():
    point = jnp.arange(3.0)
    assert "cos" in str(jax.make_jaxpr(lambda v: ggnvp(jnp.sin, lambda z: jnp.sum(z**2), point, v))(point))
    _, product = linearized_ggnvp(jnp.sin, lambda z: jnp.sum(z**2), point)
    assert "cos" not in str(jax.make_jaxpr(product)(point))
