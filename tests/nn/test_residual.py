import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.functional.activations import relu
from jax231.functional.conv import conv2d
from jax231.functional.norm import batch_norm_train
from jax231.nn.bridge import functionalize
from jax231.nn.residual import (
    BasicBlock,
    Bottleneck,
    PaddedShortcut,
    PreactBasicBlock,
    PreactBottleneck,
)
from tests.derivatives import relative_error

BLOCKS = {BasicBlock: 8, Bottleneck: 2, PreactBasicBlock: 8, PreactBottleneck: 2}
X = np.random.default_rng(0).normal(size=(2, 5, 4, 8)).astype(np.float32)


def applied(constructor, x=X, **options):
    """The block, its parameters, and what it puts out in training."""
    model = functionalize(constructor)
    params, state = model.init(jax.random.key(0))
    return params, model.apply(params, state, jnp.asarray(x), train=True, **options)[0]


def convolved(x, layer, stride=1):
    return conv2d(x, layer["kernel"], stride=stride, padding=layer["kernel"].shape[0] // 2)


def normalised(x, layer):
    c = x.shape[-1]
    return batch_norm_train(x, layer["scale"], layer["bias"], jnp.zeros(c), jnp.ones(c))[0]


def test_a_basic_block_is_its_figure():
    p, y = applied(lambda rngs: BasicBlock(8, 6, stride=2, rngs=rngs))
    branch = relu(normalised(convolved(X, p["conv1"], 2), p["bn1"]))
    branch = normalised(convolved(branch, p["conv2"]), p["bn2"])
    shortcut = normalised(convolved(X, p["downsample"]["conv"], 2), p["downsample"]["bn"])
    assert relative_error(y, relu(shortcut + branch)) <= 1e-6


def test_a_bottleneck_is_its_figure_and_strides_in_the_middle():
    p, y = applied(lambda rngs: Bottleneck(8, 3, stride=2, rngs=rngs))
    branch = relu(normalised(convolved(X, p["conv1"]), p["bn1"]))
    branch = relu(normalised(convolved(branch, p["conv2"], 2), p["bn2"]))
    branch = normalised(convolved(branch, p["conv3"]), p["bn3"])
    shortcut = normalised(convolved(X, p["downsample"]["conv"], 2), p["downsample"]["bn"])
    assert relative_error(y, relu(shortcut + branch)) <= 1e-6


@pytest.mark.parametrize("shortcut", ["projection", "padding"])
def test_a_pre_activated_block_projects_its_activations_and_pads_its_input(shortcut):
    p, y = applied(lambda rngs: PreactBasicBlock(8, 10, stride=2, shortcut=shortcut, rngs=rngs))
    activations = relu(normalised(X, p["bn1"]))
    branch = relu(normalised(convolved(activations, p["conv1"], 2), p["bn2"]))
    branch = convolved(branch, p["conv2"])
    if shortcut == "projection":
        around = convolved(activations, p["downsample"]["conv"], 2)
    else:
        around = np.pad(X[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, 2)))
    assert relative_error(y, around + branch) <= 1e-6


def test_a_pre_activated_bottleneck_is_its_figure():
    p, y = applied(lambda rngs: PreactBottleneck(8, 2, activated=True, rngs=rngs))
    branch = relu(normalised(convolved(X, p["conv1"]), p["bn2"]))
    branch = relu(normalised(convolved(branch, p["conv2"]), p["bn3"]))
    assert "bn1" not in p
    assert relative_error(y, X + convolved(branch, p["conv3"])) <= 1e-6


@pytest.mark.parametrize(("block", "width"), BLOCKS.items())
def test_a_zero_branch_leaves_the_input(block, width):
    activations = np.maximum(X, 0)
    _, y = applied(lambda rngs: block(8, width, zero_init=True, rngs=rngs), activations)
    np.testing.assert_array_equal(y, activations)


@pytest.mark.parametrize(("block", "width"), BLOCKS.items())
def test_a_branch_that_is_always_dropped_leaves_the_input(block, width):
    activations = np.maximum(X, 0)
    options = {"key": jax.random.key(1), "rates": {"stochastic_depth": 1.0}}
    _, y = applied(lambda rngs: block(8, width, rate=0.5, rngs=rngs), activations, **options)
    np.testing.assert_array_equal(y, activations)


def test_without_a_shortcut_the_branch_is_left():
    p, y = applied(lambda rngs: BasicBlock(8, 6, shortcut="none", rngs=rngs))
    branch = relu(normalised(convolved(X, p["conv1"]), p["bn1"]))
    assert "downsample" not in p
    assert relative_error(y, relu(normalised(convolved(branch, p["conv2"]), p["bn2"]))) <= 1e-6


def test_a_padded_shortcut_takes_every_second_pixel_and_adds_zeros():
    y = PaddedShortcut(8, 11, 2)(jnp.asarray(X))
    assert y.shape == (2, 3, 2, 11)
    np.testing.assert_array_equal(y[..., :8], X[:, ::2, ::2])
    assert not y[..., 8:].any()


def test_errors_name_the_shortcut():
    with pytest.raises(ValueError, match=r"ResidualBlock: expected a shortcut among .*; got shortcut='highway'"):
        BasicBlock(8, 8, shortcut="highway", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"PaddedShortcut: expected as many channels .*; got cin=8, cout=4"):
        BasicBlock(8, 4, shortcut="padding", rngs=nnx.Rngs(0))
