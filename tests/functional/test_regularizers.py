import doctest
import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional import regularizers
from jax231.functional.losses import softmax_cross_entropy
from jax231.functional.regularizers import elastic_net, l1, l2, max_norm, objective
from tests.derivatives import assert_derivatives, relative_error

RNG = np.random.default_rng(0)
PARAMS = {
    "conv1": {"kernel": RNG.standard_normal((2, 2, 3, 4)), "bias": RNG.standard_normal(4)},
    "norm1": {"scale": RNG.standard_normal(4)},
    "head": {"kernel": RNG.standard_normal((5, 3)), "bias": RNG.standard_normal(3)},
}
KERNELS = [PARAMS["conv1"]["kernel"], PARAMS["head"]["kernel"]]


def by_loop(penalty, arrays):
    return sum(penalty(float(w)) for array in arrays for w in array.ravel())


def single():
    return jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), PARAMS)


@pytest.mark.parametrize(
    ("regularizer", "penalty"),
    [(l2, lambda w: w * w), (l1, abs), (partial(elastic_net, beta=0.3), lambda w: 0.3 * w * w + abs(w))],
)
def test_penalties_are_their_definitions_over_the_chosen_leaves(regularizer, penalty):
    params = single()
    assert relative_error(jax.jit(regularizer)(params), by_loop(penalty, KERNELS)) <= 1e-6
    for select in ("conv1/*", re.compile("^conv1/").search, lambda name: name.startswith("conv1")):
        expected = by_loop(penalty, PARAMS["conv1"].values())
        assert relative_error(regularizer(params, select=select), expected) <= 1e-6
    everything = by_loop(penalty, jax.tree.leaves(PARAMS))
    assert relative_error(regularizer(params, select="*"), everything) <= 1e-6


def test_gradients_of_the_penalties():
    w = {"w": jnp.array([[1.5, 0.0, -2.0]])}
    chex.assert_trees_all_close(jax.grad(l2)(w)["w"], 2 * w["w"])
    chex.assert_trees_all_close(jax.grad(l1)(w)["w"], jnp.array([[1.0, 0.0, -1.0]]))
    chex.assert_trees_all_close(jax.grad(lambda p: elastic_net(p, 0.5))(w)["w"], jnp.array([[2.5, 0.0, -3.0]]))


def test_sums_of_bfloat16_weights_are_float32():
    many = {"w": jnp.full((100, 100), 1.0, jnp.bfloat16)}  # bfloat16 stops counting at 256
    for regularizer in (l1, l2):
        total = regularizer(many)
        assert total.dtype == jnp.float32
        assert total == 10_000


def test_max_norm_shortens_the_incoming_vectors_that_are_too_long_and_no_others():
    limit = 2.8
    projected = jax.jit(max_norm)(single(), limit)
    for part in ("conv1", "head"):
        kernel = PARAMS[part]["kernel"]
        columns = kernel.reshape(-1, kernel.shape[-1])
        expected = [w * min(1, limit / np.linalg.norm(w)) for w in columns.T]
        assert relative_error(projected[part]["kernel"].reshape(columns.shape), np.stack(expected, 1)) <= 1e-6
        norms = np.linalg.norm(columns, axis=0)
        assert norms.min() < limit < norms.max()  # both cases are there
    chex.assert_trees_all_equal(projected["norm1"], single()["norm1"])
    chex.assert_trees_all_equal(max_norm(single(), 100.0), single())
    chex.assert_trees_all_close(max_norm(projected, limit), projected, rtol=1e-6)
    only = max_norm(single(), 0.1, select="head/kernel")
    chex.assert_trees_all_equal(only["conv1"], single()["conv1"])


def test_max_norm_keeps_zero_and_its_derivatives_finite():
    zero = {"w": jnp.zeros((3, 2), jnp.bfloat16)}
    projected = max_norm(zero, 1.0)
    chex.assert_trees_all_equal(projected, zero)
    gradient = jax.jit(jax.grad(lambda p, limit: max_norm(p, limit)["w"].sum().astype(jnp.float32), argnums=(0, 1)))
    chex.assert_trees_all_equal(gradient(zero, 1.0), ({"w": jnp.ones((3, 2), jnp.bfloat16)}, jnp.zeros(())))
    on_the_limit = {"w": jnp.array([[3.0], [4.0]])}
    slope = jax.jit(jax.grad(lambda p: max_norm(p, 5.0)["w"].sum()))(on_the_limit)
    chex.assert_trees_all_equal(slope, {"w": jnp.ones((2, 1))})
    assert max_norm(on_the_limit, 0.0)["w"].tolist() == [[0.0], [0.0]]


@pytest.mark.usefixtures("x64")
def test_derivatives():
    params = jax.tree.map(jnp.asarray, PARAMS)
    assert_derivatives(l2, params)
    assert_derivatives(elastic_net, params, jnp.array(0.3))
    assert_derivatives(lambda p, limit: max_norm(p, limit), params, jnp.array(2.8))


def test_the_objective_is_mean_data_loss_plus_strength_times_the_regularizer():
    params, labels = single(), np.array([0, 2])
    losses = softmax_cross_entropy(np.ones((2, 5), np.float32) @ params["head"]["kernel"], labels)
    expected = np.mean(np.asarray(losses)) + 0.5 * by_loop(lambda w: w * w, KERNELS)
    assert relative_error(objective(losses, params, 0.5), expected) <= 1e-6
    assert relative_error(objective(losses.mean(), params, 0.5), expected) <= 1e-6
    assert objective(losses, params, 0.0) == losses.mean()
    lanes = jax.vmap(lambda strength: objective(losses, params, strength))(jnp.array([0.0, 0.5]))
    assert relative_error(lanes, [np.mean(np.asarray(losses)), expected]) <= 1e-6


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(regularizers) == (0, 7)


def test_a_selection_of_nothing_is_an_error_that_lists_the_leaves():
    with pytest.raises(
        ValueError, match=r"l2: expected select to choose a leaf; got select='fc/\*', leaves=\['w', 'x/b'\]"
    ):
        l2({"w": jnp.ones((2, 2)), "x": {"b": jnp.ones(2)}}, select="fc/*")
    with pytest.raises(ValueError, match=r"l1: expected a leaf with two or more axes; .*leaves=\['b'\]"):
        l1({"b": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"max_norm: expected a leaf with two or more axes"):
        max_norm({"b": jnp.ones(2)}, 1.0)
