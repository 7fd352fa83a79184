import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.curvature.filters import filter_lengths
from jax231.curvature.slices import loss_line, loss_plane, random_direction

PARAMS = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3)}
FIRST, SECOND = (random_direction(jax.random.key(i), PARAMS) for i in range(2))


def fun(params):
    z = jnp.sin(params["w"]).sum(0) + params["b"] ** 2
    return {"loss": z.sum(), "outputs": z}


@pytest.mark.parametrize("block", [1, 2, 100])
def test_a_line_point_by_point(block):
    at = np.linspace(-1, 1, 5)
    found = jax.jit(lambda p: loss_line(fun, p, FIRST, at, block=block))(PARAMS)
    expected = [fun(tree.axpy(t, FIRST, PARAMS)) for t in at]
    chex.assert_trees_all_close(found, jax.tree.map(lambda *x: jnp.stack(x), *expected), rtol=1e-5, atol=1e-5)


def test_a_plane_point_by_point():
    at = np.linspace(-1, 1, 3), np.array([0.0, 2.0])
    found = jax.jit(lambda p: loss_plane(fun, p, (FIRST, SECOND), at, block=2))(PARAMS)
    assert found["outputs"].shape == (3, 2, 3)
    for i, s in enumerate(at[0]):
        for j, t in enumerate(at[1]):
            expected = fun(tree.axpy(s, FIRST, tree.axpy(t, SECOND, PARAMS)))
            chex.assert_trees_all_close(jax.tree.map(lambda x, i=i, j=j: x[i, j], found), expected, rtol=1e-5, atol=1e-5)


def test_a_random_direction_is_as_long_as_the_parameters_filter_by_filter():
    chex.assert_trees_all_close(filter_lengths(FIRST), filter_lengths(PARAMS), rtol=1e-6)
    chex.assert_trees_all_equal(FIRST["b"], jnp.zeros(3))
    assert not np.allclose(FIRST["w"], SECOND["w"])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"loss_line: expected at with 1 axes \(m\); got at=\(2, 2\)"):
        loss_line(fun, PARAMS, FIRST, np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"loss_line: expected a block of at least one point; got block=0"):
        loss_line(fun, PARAMS, FIRST, np.ones(2), block=0)
    with pytest.raises(ValueError, match=r"loss_plane: expected second with 1 axes \(m\); got second=0.0"):
        loss_plane(fun, PARAMS, (FIRST, SECOND), (np.ones(2), 0.0))
