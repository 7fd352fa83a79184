import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.curvature.products import linearized_hvp
from jax231.curvature.sharpness import filter_scaled, sharpness
from tests.curvature.closures import LIKE, as_vector, operator, spectrum

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(0)


@jax.jit
def largest(matrix):
    return sharpness(operator(matrix), LIKE, KEY, steps=12)


def test_sharpness_is_the_largest_eigenvalue():
    matrix = spectrum(np.arange(12.0) - 8)
    found = largest(matrix)
    assert found.value == pytest.approx(3, rel=1e-12)
    assert found.residual <= 1e-12
    direction = as_vector(found.direction)
    chex.assert_trees_all_close(matrix @ direction, 3 * direction, atol=1e-12)


def test_descent_is_stable_up_to_two_over_the_sharpness():
    matrix = spectrum(np.arange(1.0, 13.0))
    limit = 2 / largest(matrix).value
    for rate, grows in ((0.99 * limit, False), (1.01 * limit, True)):
        step = np.eye(12) - float(rate) * matrix
        assert (np.linalg.norm(np.linalg.matrix_power(step, 1000), 2) > 1) == grows


def test_on_the_scale_of_the_filters_a_rescaled_network_is_as_sharp():
    """Of layers scaled by 10 and 1 / 10, which is the same function, only the plain Hessian makes a difference."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    params = {"first": rng.normal(size=(3, 4)), "second": rng.normal(size=(4, 2)), "bias": rng.normal(size=2)}
    rescaled = {**params, "first": 10 * params["first"], "second": params["second"] / 10}

    def loss(params):
        return jnp.mean((jax.nn.relu(x @ params["first"]) @ params["second"] + params["bias"] - y) ** 2)

    @jax.jit
    def both(params):
        _, product = linearized_hvp(loss, params)
        return [sharpness(p, params, KEY, steps=22) for p in (product, filter_scaled(product, params))]

    (plain, scaled), (plain_again, scaled_again) = both(params), both(rescaled)
    assert scaled_again.value == pytest.approx(float(scaled.value), rel=1e-10)
    assert plain_again.value > 10 * plain.value
    assert jnp.abs(scaled.direction["bias"]).max() <= 1e-10


def test_the_scaled_operator_is_a_product_of_matrices():
    params = tree.ravel(LIKE)[1](jnp.arange(1.0, 13.0))
    lengths = np.zeros(12)
    lengths[:6] = np.tile(np.linalg.norm(params["kernel"], axis=0), 2)
    matrix = spectrum(np.arange(12.0))
    found = filter_scaled(operator(matrix), params)(params)
    expected = lengths * (matrix @ (lengths * np.arange(1.0, 13.0)))
    chex.assert_trees_all_close(as_vector(found), expected, rtol=1e-12)
