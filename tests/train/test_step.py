"""The laws of a training step: accumulation, decay, averages, frozen parameters, chunks, carries."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.train import step
from jax231.train.step import TrainState
from tests import runs


def after(config, splits, last: int, epochs: int = 1) -> tuple[step.Task, TrainState, TrainState]:
    """The task, its first state, and that after so many steps of each of so many epochs."""
    task = step.assemble(config, splits)
    first = step.begin(config, task.network, task.feed.steps, task.feed.batch)
    advance, state = jax.jit(step.advance(task)), first
    for _ in range(epochs):
        state = advance(state, task.feed.data, jnp.asarray(last))
    return task, first, state


@pytest.fixture(scope="module")
def plain():
    return after(runs.config(optimizer="sgd"), runs.images(), 3)


def test_accumulation_is_one_big_batch(plain):
    _, _, parts = after(runs.config(optimizer="sgd", accumulate=4), runs.images(), 3)
    chex.assert_trees_all_close(parts.params, plain[2].params, rtol=2e-5, atol=1e-6)
    chex.assert_trees_all_close(parts.losses, plain[2].losses, rtol=1e-5)


def test_accumulation_for_methods_that_evaluate_the_objective():
    choices = {"model": "softmax", "optimizer": "gauss_newton", "options": {"cg_limit": 3}, "batch": 0, "decay": 1e-2}
    ends = [after(runs.config(**choices, accumulate=parts), runs.images(), 1, 3)[2] for parts in (1, 4)]
    chex.assert_trees_all_close(ends[0].params, ends[1].params, rtol=1e-3, atol=1e-5)
    assert ends[0].losses[0] < 0.9 * ends[0].start


def test_decay_moves_kernels_only(plain):
    _, first, once = after(runs.config(optimizer="sgd"), runs.images(), 1)
    _, _, decayed = after(runs.config(optimizer="sgd", decay=0.3), runs.images(), 1)
    for name, start, a, b in zip(
        tree.names(first.params), *map(jax.tree.leaves, (first.params, once.params, decayed.params)), strict=True
    ):
        if name.endswith("kernel"):
            np.testing.assert_allclose(b, a - 0.1 * 0.3 * start, rtol=1e-5, atol=1e-7)
        else:
            np.testing.assert_array_equal(a, b)


def test_adamw_decays_kernels_only_and_beside_its_step():
    ends = [after(runs.config(optimizer="adamw", decay=decay), runs.images(), 1)[1:] for decay in (0.0, 0.3)]
    (first, a), (_, b) = ends
    np.testing.assert_array_equal(a.params["scores"]["bias"], b.params["scores"]["bias"])
    kernels = (state.params["scores"]["kernel"] for state in (first, a, b))
    start, without, with_decay = kernels
    np.testing.assert_allclose(with_decay, without - 0.1 * 0.3 * start, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("ema", [0.7, 1.0])
def test_averages_by_a_loop(ema):
    config = runs.config(optimizer="sgd", ema=ema)
    task, state, _ = after(config, runs.images(), 0)
    advance, mean, weight = jax.jit(step.advance(task)), 0.0, 0.0
    for i in range(5):
        state = advance(state, task.feed.data, jnp.asarray(i + 1))
        kernel = np.asarray(state.params["scores"]["kernel"], np.float64)
        keep, new = (1, 1) if ema == 1 else (ema, 1 - ema)
        mean, weight = keep * mean + new * kernel, keep * weight + new
    params, _ = step.evaluated(config, state)
    np.testing.assert_allclose(params["scores"]["kernel"], mean / weight, rtol=1e-5, atol=1e-7)


def test_a_limit_on_the_gradient():
    _, first, moved = after(runs.config(optimizer="sgd", clip=1e-2), runs.images(), 1)
    distance = tree.norm(jax.tree.map(jnp.subtract, moved.params, first.params))
    np.testing.assert_allclose(distance, 0.1 * 1e-2, rtol=1e-4)


def test_what_is_frozen_stands_still():
    _, first, moved = after(runs.config(freeze=("hidden/*",), decay=0.1), runs.images(), 3)
    chex.assert_trees_all_equal(first.params["hidden"], moved.params["hidden"])
    assert not np.array_equal(first.params["scores"]["kernel"], moved.params["scores"]["kernel"])


def test_a_chunked_epoch_is_an_unchunked_one():
    config = runs.config(model="mlp_batch_norm", arguments={"widths": [6]}, optimizer="adam", rate=0.01, ema=0.9)
    task, first, whole = after(config, runs.images(), 5)
    advance, state = jax.jit(step.advance(task)), first
    for last in (1, 3, 4, 5):
        state = advance(state, task.feed.data, jnp.asarray(last))
    chex.assert_trees_all_equal(jax.random.key_data(state.key), jax.random.key_data(whole.key))
    chex.assert_trees_all_equal(state._replace(key=None), whole._replace(key=None))
    assert int(state.step) == 5


def test_epochs_have_different_orders_and_the_last_partial_batch_is_left_out():
    task = step.assemble(runs.config(), runs.images(43))
    assert task.feed.steps == 5
    orders = [np.asarray(task.feed.plan(task.feed.data, jnp.asarray(epoch), 0)) for epoch in (0, 1, 0)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(43))
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], orders[2])


def test_a_carry_goes_through_the_epoch_and_starts_again_with_the_next():
    recurrent = {"model": "char_rnn", "arguments": {"hidden": 5, "layers": 1}, "length": 6}
    config = runs.config(**recurrent, optimizer="sgd", batch=4, rate=1e-6)
    task, first, end = after(config, runs.text(), 9)
    assert task.feed.steps == 9
    inputs = jnp.concatenate(list(task.feed.data.inputs), 1)  # the windows one after the other: each row a long text
    (carry, _), _ = task.network.model.apply(first.params, first.state, (first.carry, inputs), train=False)
    chex.assert_trees_all_close(end.carry, carry, atol=1e-4)
    advance = jax.jit(step.advance(task))
    again = advance(end, task.feed.data, jnp.asarray(1))
    once = advance(first, task.feed.data, jnp.asarray(1))
    chex.assert_trees_all_close(again.carry, once.carry, atol=1e-4)


def test_schedule_free_is_evaluated_at_its_mean():
    config = runs.config(optimizer="schedule_free", decay=0.1)
    _, _, moved = after(config, runs.images(), 4)
    params, _ = step.evaluated(config, moved)
    assert not np.array_equal(params["scores"]["kernel"], moved.params["scores"]["kernel"])


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"batch": 99}, r"train: expected a batch of at most the 40 training examples; got batch=99"),
        ({"arguments": {"width": 3}}, r"models.two_layer: expected arguments that it has; got unknown=\['width'\]"),
        ({"options": {"beta": 0.9}}, r"optim.nesterov: expected options that it has; got unknown=\['beta'\]"),
        ({"model": "svm", "smoothing": 0.1}, r"a loss of softmax_cross_entropy for label smoothing"),
        ({"model": "neighbors"}, r"a model that learns by descent"),
        ({"model": "lenet"}, r"lenet: expected images of at least 16x16"),
        ({"dropout": 0.5}, r"arguments that it has; got unknown=\['dropout'\]"),
    ],
)
def test_mistakes(choices, said):
    with pytest.raises(ValueError, match=said):
        step.assemble(runs.config(**choices), runs.images())
