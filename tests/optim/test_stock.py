import inspect
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.optim import stock_table
from jax231.optim.stock import stock
from tests.problems import quadratic
from tests.replays import by_torch, hard_gradients, start
from tests.trajectories import replay

PLAIN = ("amsgrad", "lamb", "lars", "rprop")


OURS = {"adagrad", "adam", "adamw", "lbfgs", "lion", "muon", "nadam", "rmsprop", "schedule_free", "schedule_free_adamw"}
OURS |= {"schedule_free_sgd", "sgd"}
RATES = {"learning_rate", "max_learning_rate", "optimizer", "base_optimizer"}


def builders_of(home):
    """Functions whose first argument is a rate or an optimizer."""
    for name, found in vars(home).items():
        if name.islower() and callable(found) and not name.startswith(("_", "scale_")):
            parameters = inspect.signature(found).parameters
            if parameters and next(iter(parameters)) in RATES:
                yield name


def test_the_table_has_every_optimizer_of_optax_that_has_no_file_here():
    theirs = {*builders_of(optax), *builders_of(optax.contrib)}
    left_out = {"optimistic_adam", "dpsgd", "selective_transform"}
    assert theirs - OURS - left_out == set(stock_table.NAMES)


def test_the_table_imports_no_jax():
    code = "import sys, jax231.optim.stock_table; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("x64")
def test_they_take_the_steps_of_optax():
    gradients = hard_gradients(steps=20)
    point = start(gradients)
    ours = jax.jit(lambda: {name: replay(stock(name)(0.01), point, gradients) for name in PLAIN})()
    theirs = jax.jit(lambda: {name: replay(getattr(optax, name)(0.01), point, gradients) for name in PLAIN})()
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_two_are_those_of_pytorch_and_two_differ_as_written():
    gradients = hard_gradients()
    names = {"adadelta": "Adadelta", "adamax": "Adamax", "radam": "RAdam", "rprop": "Rprop"}
    theirs = {name: by_torch(peer, gradients, 0.01) for name, peer in names.items()}
    ours = jax.jit(lambda: {name: replay(stock(name)(0.01), start(gradients), gradients) for name in names})()
    for name in ("adadelta", "adamax"):
        chex.assert_trees_all_close(ours[name], theirs[name], rtol=1e-12, atol=1e-12)
    chex.assert_trees_all_close(ours["radam"], theirs["radam"], atol=1e-6)
    np.testing.assert_array_equal(ours["rprop"][0], start(gradients))
    assert (theirs["rprop"][0] != start(gradients))[:-2].all()


@pytest.mark.usefixtures("x64")
def test_sharpness_aware_steps_take_the_gradient_at_the_worst_point_near():
    fun, x0, _, _ = quadratic()
    x = x0["x"]
    grad = jax.grad(lambda x: fun({"x": x}))
    tx = stock("sam")(0.01, radius=0.1, momentum=0.0)
    updates, still = jax.jit(
        lambda x: (
            tx.update(grad(x), tx.init(x), x, value_fn=lambda x: fun({"x": x}))[0],
            tx.update(0 * x, tx.init(x), x, value_fn=lambda x: 0 * x.sum())[0],
        )
    )(x)
    worst = x + 0.1 * grad(x) / jnp.linalg.norm(grad(x))
    chex.assert_trees_all_close(updates, -0.01 * grad(worst), rtol=1e-10)
    assert not still.any()


@pytest.mark.usefixtures("x64")
def test_polyaks_step_is_the_gap_over_the_square_and_at_most_the_rate():
    x = jnp.array([3.0, 4.0])
    tx = stock("polyak_sgd")(10.0)
    updates, _ = tx.update(x, tx.init(x), x, value=12.5)
    chex.assert_trees_all_close(updates, -0.5 * x)
    capped, _ = stock("polyak_sgd")(0.1).update(x, tx.init(x), x, value=12.5)
    chex.assert_trees_all_close(capped, -0.1 * x)


@pytest.mark.usefixtures("x64")
def test_sophia_divides_by_the_diagonal_of_the_hessian():
    """Of a separable quadratic one probe knows it exactly; the second step sees the first one's."""
    curvature = jnp.array([1.0, 100.0])

    def fun(x):
        return 0.5 * jnp.sum(curvature * x**2)

    x = jnp.array([1e-4, 1e-4])
    tx = stock("sophia")(1.0, gamma=1.0, b1=0.0, b2=0.0, weight_decay=0.0, key=jax.random.key(3))
    step = jax.jit(lambda state: tx.update(jax.grad(fun)(x), state, x, value_fn=fun))
    _, state = step(tx.init(x))
    updates, _ = step(state)
    chex.assert_trees_all_close(updates, -x, rtol=1e-6)


def test_noise_comes_from_its_key():
    x = jnp.zeros(3)

    @jax.jit
    def step(key):
        tx = stock("noisy_sgd")(0.1, key=key)
        return tx.update(x, tx.init(x), x)[0]

    assert (step(jax.random.key(0)) != step(jax.random.key(1))).all()
    chex.assert_trees_all_equal(step(jax.random.key(0)), step(jax.random.key(0)))


def test_mechanic_scales_the_steps_of_its_base():
    x = jnp.ones(2)
    moved = []
    for rate in (1.0, 2.0):
        tx = stock("mechanize")(rate, base=optax.sgd(1.0), weight_decay=0.0)
        step = jax.jit(lambda state, tx=tx: tx.update(x, state, x))
        state = tx.init(x)
        for _ in range(3):
            updates, state = step(state)
        moved.append(updates)
    assert (moved[0] < 0).all()
    chex.assert_trees_all_close(2 * moved[0], moved[1], rtol=1e-5)


def test_wrong_uses_are_named():
    x = jnp.ones(2)
    with pytest.raises(
        ValueError, match=r"stock: expected a name of the optimizers of Optax; got 'lamp' \(nearest: lamb"
    ):
        stock("lamp")
    with pytest.raises(ValueError, match=r"lamb: expected rate above 0; got rate=0.0"):
        stock("lamb")(0.0)
    for name, missing in (("sam", "value_fn"), ("sophia", "value_fn"), ("polyak_sgd", "value"), ("momo", "value")):
        tx = stock(name)(0.1)
        with pytest.raises(ValueError, match=rf"{name}: expected update\(grads, state, params, {missing}=\.\.\.\)"):
            tx.update(x, tx.init(x), x)
