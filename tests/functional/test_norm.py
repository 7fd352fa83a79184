import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional.norm import batch_norm_eval, batch_norm_train, group_norm, layer_norm, local_response_norm
from tests.derivatives import assert_derivatives, relative_error

DENSE, SPATIAL = (7, 4), (3, 5, 2, 4)


def inputs(shape, seed=0):
    """An input away from zero mean and unit variance, with scale and bias for its last axis, in float64."""
    rng = np.random.default_rng(seed)
    x = 3.0 + 2.0 * rng.standard_normal(shape)
    return x, 0.5 + rng.random(shape[-1]), rng.standard_normal(shape[-1])


def batch_norm_by_loop(x, scale, bias, mean, var, momentum, eps):
    y, new_mean, new_var = np.empty_like(x), mean.copy(), var.copy()
    for c in range(x.shape[-1]):
        values = x[..., c].ravel()
        y[..., c] = scale[c] * (x[..., c] - values.mean()) / np.sqrt(values.var() + eps) + bias[c]
        new_mean[c] = momentum * mean[c] + (1 - momentum) * values.mean()
        new_var[c] = momentum * var[c] + (1 - momentum) * values.var(ddof=1)
    return y, new_mean, new_var


def group_norm_by_loop(x, scale, bias, groups, eps):
    y, width = np.empty_like(x), x.shape[-1] // groups
    for i in range(x.shape[0]):
        for first in range(0, x.shape[-1], width):
            part = np.s_[i, ..., first : first + width]
            y[part] = (x[part] - x[part].mean()) / np.sqrt(x[part].var() + eps)
    return y * scale + bias


def local_response_norm_by_loop(x, size, k, alpha, beta):
    y, reach = np.empty_like(x), size // 2
    for i in range(x.shape[-1]):
        window = x[..., max(0, i - reach) : i + reach + 1]
        y[..., i] = x[..., i] / (k + alpha * (window**2).sum(-1)) ** beta
    return y


def single(*arrays):
    return tuple(jnp.asarray(a, jnp.float32) for a in arrays)


@pytest.mark.parametrize("shape", [DENSE, SPATIAL])
def test_batch_norm_is_its_definition(shape):
    x, scale, bias = inputs(shape)
    mean, var = np.arange(4.0), 1.0 + np.arange(4.0)
    expected = batch_norm_by_loop(x, scale, bias, mean, var, 0.8, 1e-3)
    actual = jax.jit(lambda *a: batch_norm_train(*a, momentum=0.8, eps=1e-3))(*single(x, scale, bias, mean, var))
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == jnp.float32
        assert relative_error(a, e) <= 1e-6
    evaluated = batch_norm_eval(*single(x, scale, bias, mean, var), eps=1e-3)
    assert relative_error(evaluated, scale * (x - mean) / np.sqrt(var + 1e-3) + bias) <= 1e-6


def test_group_norm_and_layer_norm_are_their_definitions():
    x, scale, bias = inputs((3, 2, 2, 6))
    for groups in (1, 3, 6):
        expected = group_norm_by_loop(x, scale, bias, groups, 1e-5)
        assert relative_error(group_norm(*single(x, scale, bias), groups=groups), expected) <= 1e-6
    rows = group_norm_by_loop(x.reshape(-1, 6), scale, bias, 1, 1e-5).reshape(x.shape)
    assert relative_error(layer_norm(*single(x, scale, bias)), rows) <= 1e-6


@pytest.mark.parametrize("size", [1, 3, 5, 13])
def test_local_response_norm_is_its_definition(size):
    x = inputs((2, 3, 6))[0]
    expected = local_response_norm_by_loop(x, size, 2.0, 0.1, 0.75)
    assert relative_error(jax.jit(lambda x: local_response_norm(x, size=size, alpha=0.1))(*single(x)), expected) <= 1e-6


def test_a_large_mean_costs_no_digits_of_the_variance():
    x = (np.random.default_rng(1).standard_normal((64, 3)) + 1000).astype(np.float32)
    ones, zeros = np.ones(3), np.zeros(3)
    _, _, var = batch_norm_train(*single(x, ones, zeros, zeros, zeros), momentum=0.0)
    assert relative_error(var, x.astype(np.float64).var(0, ddof=1)) <= 1e-6


def test_batch_norm_gives_every_channel_its_bias_as_mean_and_its_scale_as_deviation():
    x, scale, bias = inputs(SPATIAL)
    y, _, _ = batch_norm_train(*single(x, scale, bias, np.zeros(4), np.ones(4)))
    np.testing.assert_allclose(y.mean((0, 1, 2)), bias, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), scale, atol=1e-4)


def test_batch_norm_does_not_see_a_shift_and_a_scale_of_its_input():
    x, scale, bias = single(*inputs(DENSE))
    y, _, _ = batch_norm_train(x, scale, bias, bias, scale, eps=0.0)
    again, _, _ = batch_norm_train(10 * x - 7, scale, bias, bias, scale, eps=0.0)
    chex.assert_trees_all_close(y, again, atol=1e-5)


def test_evaluation_with_the_biased_batch_statistics_is_training():
    x, scale, bias = single(*inputs(DENSE))
    y, mean, var = batch_norm_train(x, scale, bias, jnp.zeros(4), jnp.zeros(4), momentum=0.0)
    chex.assert_trees_all_close(batch_norm_eval(x, scale, bias, mean, var * 6 / 7), y, atol=1e-5)


def test_group_norm_of_vectors_in_one_group_is_layer_norm():
    x, scale, bias = single(*inputs(DENSE))
    chex.assert_trees_all_close(group_norm(x, scale, bias, 1), layer_norm(x, scale, bias), atol=1e-6)


def test_running_statistics_carry_no_gradient():
    x, scale, bias = single(*inputs(DENSE))

    def statistics(x, mean, var):
        _, mean, var = batch_norm_train(x, scale, bias, mean, var)
        return mean.sum() + var.sum()

    gradients = jax.grad(statistics, argnums=(0, 1, 2))(x, bias, scale)
    chex.assert_trees_all_equal(gradients, jax.tree.map(jnp.zeros_like, gradients))


def test_bfloat16_in_and_out_with_statistics_in_float32():
    x, scale, bias = inputs((1000, 4))
    narrow = jnp.asarray(100 + x, jnp.bfloat16)
    y, mean, var = batch_norm_train(narrow, *single(scale, bias, np.zeros(4), np.zeros(4)), momentum=0.0)
    assert (y.dtype, mean.dtype, var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    exact = np.asarray(narrow, np.float64)
    assert relative_error(mean, exact.mean(0)) <= 1e-6
    assert relative_error(var, exact.var(0, ddof=1)) <= 1e-5
    _, mean, _ = batch_norm_train(narrow, scale, bias, jnp.zeros(4, jnp.bfloat16), scale)
    assert mean.dtype == jnp.bfloat16
    for y in (
        layer_norm(narrow, *single(scale, bias)),
        group_norm(narrow, *single(scale, bias), groups=2),
        batch_norm_eval(narrow, *single(scale, bias, bias, scale)),
        local_response_norm(narrow),
    ):
        assert y.dtype == jnp.bfloat16
    expected = group_norm_by_loop(exact, scale, bias, 1, 1e-5)
    assert relative_error(layer_norm(narrow, *single(scale, bias)), expected) <= 4e-3  # one rounding to bfloat16


def test_momentum_may_be_traced_and_mapped():
    x, scale, bias = single(*inputs(DENSE))
    momenta = jnp.array([0.0, 0.5, 1.0])
    run = jax.vmap(lambda m: batch_norm_train(x, scale, bias, bias, scale, momentum=m)[1])
    means = jax.jit(run)(momenta)
    chex.assert_trees_all_close(means[2], bias)
    chex.assert_trees_all_close(means[1], (means[0] + means[2]) / 2, atol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shape", [(5, 4), (2, 2, 2, 4)])
def test_derivatives(shape):
    x, scale, bias = map(jnp.asarray, inputs(shape))
    mean, var = jnp.sin(bias), 1 + scale

    def norms(x, scale, bias, mean, var):
        return (
            batch_norm_train(x, scale, bias, mean, var)[0],
            batch_norm_eval(x, scale, bias, mean, var),
            layer_norm(x, scale, bias),
            group_norm(x, scale, bias, 2),
            local_response_norm(x, size=3, alpha=0.1),
        )

    assert_derivatives(norms, x, scale, bias, mean, var)


def test_a_constant_input_has_finite_derivatives():
    x, scale, bias = jnp.ones((4, 3)), jnp.ones(3), jnp.zeros(3)
    gradient = jax.grad(lambda x: jnp.sum(batch_norm_train(x, scale, bias, bias, scale)[0] ** 2))
    chex.assert_tree_all_finite(jax.jit(lambda x: jax.jvp(gradient, (x,), (x,)))(x))
    chex.assert_tree_all_finite(jax.jit(jax.grad(lambda x: layer_norm(x, scale, bias)[0, 0]))(x))


@pytest.mark.usefixtures("x64")
def test_norms_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    x, scale, bias = inputs((3, 4, 5, 6))
    weights, shift = torch.tensor(scale), torch.tensor(bias)
    first = torch.tensor(np.moveaxis(x, -1, 1).copy())

    def last(y):
        return np.moveaxis(y.numpy(), 1, -1)

    mean, var = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    y = torch.nn.functional.batch_norm(first, mean, var, weights, shift, training=True, momentum=0.1, eps=1e-5)
    ours = batch_norm_train(x, scale, bias, np.zeros(6), np.ones(6), momentum=0.9)
    chex.assert_trees_all_close(ours, (last(y), mean.numpy(), var.numpy()), rtol=1e-12)

    y = torch.nn.functional.group_norm(first, 3, weights, shift)
    chex.assert_trees_all_close(group_norm(x, scale, bias, 3), last(y), rtol=1e-10)
    y = torch.nn.functional.layer_norm(torch.tensor(x), (6,), weights, shift)
    chex.assert_trees_all_close(layer_norm(x, scale, bias), y.numpy(), rtol=1e-10)
    y = torch.nn.functional.local_response_norm(first, 5, alpha=0.5, beta=0.75, k=2.0)
    chex.assert_trees_all_close(local_response_norm(x, alpha=0.5 / 5), last(y), rtol=1e-12)


def test_errors_name_what_does_not_fit():
    x, one, zero = jnp.ones((2, 4)), jnp.ones(4), jnp.zeros(4)
    with pytest.raises(
        ValueError, match=r"batch_norm_train: expected scale with one entry .*; got x=\(2, 4\), scale=\(3,\)"
    ):
        batch_norm_train(x, jnp.ones(3), zero, zero, one)
    with pytest.raises(
        ValueError, match=r"batch_norm_eval: expected var with one entry .*; got x=\(2, 4\), var=\(1, 4\)"
    ):
        batch_norm_eval(x, one, zero, zero, one[None])
    with pytest.raises(ValueError, match=r"at least two values of each channel; got x=\(1, 4\), values=1"):
        batch_norm_train(x[:1], one, zero, zero, one)
    with pytest.raises(ValueError, match=r"at least two values of each channel; got x=\(0, 4\), values=0"):
        batch_norm_train(x[:0], one, zero, zero, one)
    with pytest.raises(ValueError, match=r"batch_norm_train: expected momentum within \[0, 1\]; got momentum=1.5"):
        batch_norm_train(x, one, zero, zero, one, momentum=1.5)
    with pytest.raises(ValueError, match=r"layer_norm: expected bias with one entry .*bias=0.0"):
        layer_norm(x, one, 0.0)
    with pytest.raises(ValueError, match=r"group_norm: expected the last axis to be a multiple of groups; .*groups=3"):
        group_norm(x, one, zero, 3)
    with pytest.raises(ValueError, match=r"local_response_norm: expected an odd size; got size=4"):
        local_response_norm(x, size=4)
    with pytest.raises(ValueError, match=r"local_response_norm: expected k above zero; got k=0"):
        local_response_norm(x, k=0)
