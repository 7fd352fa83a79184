"""The teaching forms are Optax's and PyTorch's, flag by flag, over 100 steps in float64."""

import chex
import jax
import numpy as np
import optax
import pytest

from jax231.optim import by_hand
from tests.replays import by_torch, hard_gradients, start
from tests.trajectories import replay

RATE = 0.01
GRADIENTS = hard_gradients()

OPTAX = {
    "sgd": (by_hand.sgd(RATE), optax.sgd(RATE)),
    "momentum": (by_hand.momentum(RATE), optax.sgd(RATE, 0.9)),
    "nesterov": (by_hand.momentum(RATE, nesterov=True), optax.sgd(RATE, 0.9, nesterov=True)),
    "rmsprop": (by_hand.rmsprop(RATE), optax.rmsprop(RATE)),
    "rmsprop outside": (by_hand.rmsprop(RATE, eps_inside_root=False), optax.rmsprop(RATE, eps_in_sqrt=False)),
    "rmsprop centered": (by_hand.rmsprop(RATE, centered=True), optax.rmsprop(RATE, centered=True)),
    "rmsprop momentum": (by_hand.rmsprop(RATE, momentum=0.7), optax.rmsprop(RATE, momentum=0.7)),
    "adam": (by_hand.adam(RATE), optax.adam(RATE)),
    "adamw": (by_hand.adamw(RATE, weight_decay=0.1), optax.adamw(RATE, weight_decay=0.1)),
}
TORCH = {
    "sgd": (by_hand.sgd(RATE), "SGD", {}),
    "momentum": (by_hand.momentum(RATE), "SGD", {"momentum": 0.9}),
    "dampening": (by_hand.momentum(RATE, dampening=0.3), "SGD", {"momentum": 0.9, "dampening": 0.3}),
    "nesterov": (by_hand.momentum(RATE, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (by_hand.rmsprop(RATE, 0.99, eps_inside_root=False), "RMSprop", {}),
    "rmsprop centered": (
        by_hand.rmsprop(RATE, 0.99, eps_inside_root=False, centered=True),
        "RMSprop",
        {"centered": True},
    ),
    "rmsprop momentum": (
        by_hand.rmsprop(RATE, 0.99, eps_inside_root=False, momentum=0.7),
        "RMSprop",
        {"momentum": 0.7},
    ),
    "adam": (by_hand.adam(RATE), "Adam", {}),
    "amsgrad": (by_hand.adam(RATE, amsgrad=True), "Adam", {"amsgrad": True}),
    "adamw": (by_hand.adamw(RATE, weight_decay=0.1), "AdamW", {"weight_decay": 0.1}),
    "adamw amsgrad": (by_hand.adamw(RATE, amsgrad=True), "AdamW", {"amsgrad": True}),
}


def together(transformations, gradients=GRADIENTS):
    """The points of several transformations, from one compiled program."""
    return jax.jit(lambda: {name: replay(tx, start(gradients), gradients) for name, tx in transformations.items()})()


@pytest.mark.usefixtures("x64")
def test_they_are_the_steps_of_optax():
    ours = together({name: pair[0] for name, pair in OPTAX.items()})
    theirs = together({name: pair[1] for name, pair in OPTAX.items()})
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_they_are_the_steps_of_pytorch():
    pytest.importorskip("torch")
    ours = together({name: tx for name, (tx, *_) in TORCH.items()})
    theirs = {name: by_torch(peer, GRADIENTS, RATE, **options) for name, (_, peer, options) in TORCH.items()}
    chex.assert_trees_all_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_missing_parameters_are_named():
    tx = by_hand.sgd(RATE)
    with pytest.raises(ValueError, match=r"by_hand: expected update\(grads, state, params\); got params=None"):
        tx.update(GRADIENTS[0], tx.init(GRADIENTS[0]))


@pytest.mark.usefixtures("x64")
def test_the_difference_in_amsgrad_is_as_written():
    """Optax keeps the largest corrected mean: in the first steps far larger than the corrected largest."""
    gradients = np.array([[10.0]] + [[0.1]] * 20)
    points = together({"torch": by_hand.adam(RATE, amsgrad=True), "optax": optax.amsgrad(RATE)}, gradients)
    np.testing.assert_allclose(points["torch"][0], points["optax"][0], rtol=1e-12)
    moved = {name: np.abs(np.diff(x[:, 0])) for name, x in points.items()}
    assert (moved["optax"][1:] < 0.9 * moved["torch"][1:]).all()
